"""Content-addressed files: structures, labels, models, design rows, trajectories."""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from voltaloop.core import ArtifactError, canonical_json
from voltaloop.store.arrays import Arrays, arrays_from_bytes, arrays_to_bytes
from voltaloop.store.files import TEMPORARY_SUFFIX, write_atomically

_NAME = re.compile(r"[0-9a-f]{64}\.[a-z0-9]{1,16}")
_KEY = re.compile(r"[0-9a-f]{64}")
_SUFFIX = re.compile(r"[a-z0-9]{1,16}")


class ArtifactStore:
    """Files under ``root``, each named by the SHA-256 of its content: ``<sha256>.<suffix>``.

    What is written is there whole and durable, or not at all; writing the same content again does
    nothing. A file is checked against its name on first reading in a process, and again when it
    has changed. The memo (``memo_get``, ``memo_put``) is a cache beside them, named by the hash
    of *what was computed*; it may be deleted at any time.

    Any number of processes may use one store. A store is only its root path: cheap to pickle.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def __repr__(self) -> str:
        return f"ArtifactStore({str(self.root)!r})"

    def put_bytes(self, data: bytes, suffix: str) -> str:
        """Store ``data``; its name. A damaged file of that name is repaired.

        Raises ValueError for a suffix that is not 1 to 16 of a-z and 0-9, ArtifactError when the
        file cannot be written.
        """
        if not _SUFFIX.fullmatch(suffix):
            raise ValueError(
                f"Artifact suffix: expected 1 to 16 of a-z and 0-9 without a dot, got {suffix!r}."
            )
        name = f"{hashlib.sha256(data).hexdigest()}.{suffix}"
        if not self.verify(name):
            _write(self._file(name), data, durable=True)
        return name

    def get_bytes(self, name: str) -> bytes:
        """The content of an artifact. Raises ArtifactError when it is missing or damaged."""
        return self.path(name).read_bytes()

    def put_json(self, obj: Any) -> str:
        """Store ``obj`` as canonical JSON; NaN and infinity are refused (ValueError)."""
        return self.put_bytes(canonical_json(obj).encode(), "json")

    def get_json(self, name: str) -> Any:
        return json.loads(self.get_bytes(name))

    def put_arrays(self, **arrays: Any) -> str:
        """Store named arrays as npz without pickle; the same arrays have the same name."""
        return self.put_bytes(arrays_to_bytes(arrays), "npz")

    def get_arrays(self, name: str) -> Arrays:
        return arrays_from_bytes(self.get_bytes(name))

    def path(self, name: str) -> Path:
        """The file, for programs that read it themselves; checked like any reading.

        Raises ArtifactError when it is missing or damaged.
        """
        file = self._file(name)
        if not file.is_file():
            raise ArtifactError(
                f"Artifact {name} is not in {self.root}: expected the file {file}. "
                "Restore it from a copy, or remove what refers to it so that it is computed again."
            )
        if not self.verify(name):
            raise ArtifactError(
                f"Artifact {name} is damaged: its content does not match its name ({file}). "
                "Restore it from a copy, or delete the file so that it is computed again."
            )
        return file

    def has(self, name: str) -> bool:
        """Whether a file of that name is there; :meth:`verify` also looks inside."""
        return self._file(name).is_file()

    def verify(self, name: str) -> bool:
        """Whether the artifact is there and its content matches its name."""
        file = self._file(name)
        try:
            status = file.stat()
            return _digest(str(file), status.st_size, status.st_mtime_ns) == name[:64]
        except (FileNotFoundError, NotADirectoryError):
            return False

    def memo_put(self, key: str, **arrays: Any) -> None:
        """Remember ``arrays`` under ``key``, the SHA-256 of what was computed."""
        data = arrays_to_bytes(arrays)
        checksum = hashlib.sha256(data).hexdigest().encode()
        _write(self._memo_file(key), checksum + data, durable=False)

    def memo_get(self, key: str) -> Arrays | None:
        """What was remembered under ``key``; None when absent, truncated or damaged."""
        try:
            content = self._memo_file(key).read_bytes()
        except FileNotFoundError:
            return None
        checksum, data = content[:64], content[64:]
        if hashlib.sha256(data).hexdigest().encode() != checksum:
            return None
        return arrays_from_bytes(data)

    def remove_leftovers(self) -> int:
        """Delete temporary files of writers that were killed; how many there were.

        Only for the holder of the campaign's lock, before it starts workers.
        """
        leftovers = list(self.root.rglob(f"*{TEMPORARY_SUFFIX}"))
        for file in leftovers:
            file.unlink(missing_ok=True)
        return len(leftovers)

    def _file(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ArtifactError(
                f"Artifact name: expected '<64 hex digits>.<suffix>', got {name!r}."
            )
        return self.root / name[:2] / name

    def _memo_file(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ArtifactError(f"Memo key: expected 64 hex digits, got {key!r}.")
        return self.root / "memo" / key[:2] / f"{key}.memo"


def _write(file: Path, data: bytes, *, durable: bool) -> None:
    try:
        write_atomically(file, data, durable=durable)
    except OSError as error:
        raise ArtifactError(
            f"Cannot write {file} ({len(data)} bytes): {error.strerror}. Nothing half-written "
            "stays behind; make room or mend the folder's permissions, then run again."
        ) from error


@lru_cache(maxsize=16384)
def _digest(file: str, size: int, modified_ns: int) -> str:  # noqa: ARG001 - a changed file is hashed again
    with Path(file).open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
