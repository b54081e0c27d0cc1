"""One Thinker per campaign folder."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from voltaloop.core import CampaignFolderError

ATTEMPTS = 5
BETWEEN_ATTEMPTS_S = 0.1

_held: set[int] = set()


def _drop_inherited() -> None:
    """A forked child must not keep the lock of a parent that died."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_drop_inherited)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a campaign folder. started: UTC, ISO 8601."""

    pid: int
    host: str
    started: str


class CampaignLock:
    """Holds a campaign folder for this process, as a context manager.

    An operating system lock (``flock``) on ``folder/lock``, so it ends with the process, however
    that ends, and the next one takes over. Child processes do not inherit it. Between hosts it
    holds on file systems that share such locks (local disks, NFS 4, Lustre mounted with flock).
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Take the lock. Raises CampaignFolderError saying who holds it."""
        if self._descriptor is not None:
            raise CampaignFolderError(f"{self.folder} is already held by this lock object.")
        descriptor = _open(self.folder)
        try:
            self._take(descriptor)
            _write_holder(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        _held.add(descriptor)
        self._descriptor = descriptor
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Let go of the folder; does nothing when it is not held."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor not in _held:  # not held, or held by the parent of this forked process
            return
        _held.discard(descriptor)
        try:
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    @staticmethod
    def holder(folder: Path | str) -> Holder | None:
        """Who holds the folder at this moment; None when nobody does. Creates no file."""
        try:
            descriptor = os.open(Path(folder) / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read_holder(descriptor)
        finally:
            os.close(descriptor)
        return None

    def _take(self, descriptor: int) -> None:
        for attempt in range(ATTEMPTS):
            if attempt:  # someone may only be asking who holds it
                time.sleep(BETWEEN_ATTEMPTS_S)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            except OSError as error:
                raise CampaignFolderError(
                    f"{self.folder} cannot be locked: {error.strerror}. Put the campaign on a file "
                    "system that has file locks, such as a local disk."
                ) from error
            return
        raise CampaignFolderError(_refusal(self.folder, _read_holder(descriptor)))


def _open(folder: Path) -> int:
    try:
        return os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise CampaignFolderError(
            f"Cannot lock the campaign folder {folder}: {error.strerror}. "
            "Expected an existing folder in which you may write."
        ) from error


def _write_holder(descriptor: int) -> None:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    holder = Holder(pid=os.getpid(), host=socket.gethostname(), started=started)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(asdict(holder)).encode(), 0)
    os.fsync(descriptor)


def _read_holder(descriptor: int) -> Holder | None:
    """None in the instant in which the holder has not written its name yet."""
    try:
        data = json.loads(os.pread(descriptor, 4096, 0))
        return Holder(pid=int(data["pid"]), host=str(data["host"]), started=str(data["started"]))
    except (ValueError, KeyError, TypeError):
        return None


def _refusal(folder: Path, holder: Holder | None) -> str:
    if holder is None:
        who, how = "another process that is just starting", "wait for it and try again"
    else:
        who = f"process {holder.pid} on {holder.host} since {holder.started}"
        how = f"wait for it, or stop it with `kill {holder.pid}` on {holder.host}"
    return (
        f"The campaign folder {folder} is held by another voltaloop run: {who}. "
        f"Expected to be the only one; {how}. Reading it (status, report, export) is allowed."
    )
