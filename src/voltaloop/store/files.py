"""Writing a file so that it is there whole or not at all, and never outside its folder."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

TEMPORARY_SUFFIX = ".tmp"

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_atomically(root: Path, place: str, data: bytes, *, durable: bool = True) -> None:
    """Write ``data`` to ``root/place``: a temporary file beside it, fsync, rename, fsync.

    place: file name, with folders before it where wanted (``"ab/name"``); missing ones are made,
    and root itself when its parent is there. Below root no link is followed, so nothing is written
    elsewhere. With ``durable=False`` the file is as whole but may be lost in a power cut. Raises
    OSError and leaves no temporary file behind (unless the process is killed).
    """
    *folders, name = place.split("/")
    with opened_folder(root, *folders, create=True, durable=durable) as folder:
        temporary = f"{name[:16]}-{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
        try:
            _write_new(temporary, data, folder, durable=durable)
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            remove(temporary, folder)
            raise
        if durable:
            os.fsync(folder)


def move_aside(root: Path, place: str, shelf: str) -> Path | None:
    """Move ``root/place`` to ``root/shelf/<name>.<n>``, n counting from 1; its new path.

    Nothing is ever overwritten. None when there is no such file (any more). Raises OSError.
    """
    *folders, name = place.split("/")
    try:
        with opened_folder(root, *folders) as source:
            os.stat(name, dir_fd=source, follow_symlinks=False)
            with opened_folder(root, shelf, create=True) as target:
                return root / shelf / _moved(name, source, target)
    except FileNotFoundError:
        return None


@contextmanager
def opened_folder(
    root: Path, *parts: str, create: bool = False, durable: bool = True
) -> Iterator[int]:
    """A descriptor of the folder ``root/parts``, for ``dir_fd=``.

    Root may be a link, nothing below it: that is NotADirectoryError. With ``create`` missing
    folders are made, root too when its parent is there. Raises OSError.
    """
    descriptor = _opened_root(root, create=create)
    try:
        for part in parts:
            below = _opened_part(part, descriptor, create=create, durable=durable)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` survive a power cut."""
    sync(folder, _FOLDER)


def sync(path: Path, flags: int = os.O_RDONLY | os.O_CLOEXEC) -> None:
    """Make the content of a file survive a power cut."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(name: str, folder: int) -> None:
    """Delete a file, given the descriptor of its folder; one that is not there is no error."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _opened_root(root: Path, *, create: bool) -> int:
    try:
        return os.open(root, _FOLDER)
    except FileNotFoundError:
        if not create:
            raise
    with suppress(FileExistsError):
        os.mkdir(root)
    sync_folder(root.parent)
    return os.open(root, _FOLDER)


def _opened_part(part: str, folder: int, *, create: bool, durable: bool) -> int:
    try:
        return os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    except FileNotFoundError:
        if not create:
            raise
    with suppress(FileExistsError):
        os.mkdir(part, dir_fd=folder)
    if durable:
        os.fsync(folder)
    return os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)


def _write_new(name: str, data: bytes, folder: int, *, durable: bool) -> None:
    with open(os.open(name, _NEW_FILE, 0o666, dir_fd=folder), "wb") as file:
        file.write(data)
        file.flush()
        if durable:
            os.fsync(file.fileno())


def _moved(name: str, source: int, target: int) -> str:
    kept = _reserve(name, target)
    try:
        os.replace(name, kept, src_dir_fd=source, dst_dir_fd=target)
    except BaseException:
        remove(kept, target)
        raise
    os.fsync(target)
    os.fsync(source)
    return kept


def _reserve(name: str, folder: int) -> str:
    """An empty file of the first free number, which the file to be kept then replaces."""
    for n in count(1):
        kept = f"{name}.{n}"
        with suppress(FileExistsError):
            os.close(os.open(kept, _NEW_FILE, 0o666, dir_fd=folder))
            return kept
    raise AssertionError("count() ends")
