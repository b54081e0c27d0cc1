"""What an engine's error means, and the files that are kept with it."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from traceback import format_exception

from voltaloop.core import ReferenceFailure, StorageError

LONGEST_FILE = 200_000
"""Characters of a file that are kept with a failure: its end, where the error is told."""

STORAGE_ERRORS = {
    errno.ENOSPC: "The disk is full: free some space",
    errno.EDQUOT: "The disk quota is used up: free some space, or ask for more",
    errno.EROFS: "The file system is read-only: mount it writable",
    errno.ESTALE: "The network file system lost the file: see that its server answers",
}
"""What is wrong with the storage, not with the frame, and what mends it."""


def failure_of(err: BaseException) -> ReferenceFailure | StorageError:
    """The named failure behind whatever an engine raised, its traceback kept as a file."""
    storage = _storage_trouble(err)
    if storage is not None:
        return storage
    reason = "out_of_memory" if _is_out_of_memory(err) else "engine_failed"
    files = {"traceback.txt": end_of("".join(format_exception(err)))}
    return ReferenceFailure(reason, f"{type(err).__name__}: {err}", files=files)


def end_of(text: str) -> str:
    """The last ``LONGEST_FILE`` characters."""
    return text[-LONGEST_FILE:]


def read_files(folder: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Name to text of those files that are there, each cut to its end."""
    present = [name for name in names if (folder / name).is_file()]
    return {name: _read_end(folder / name) for name in present}


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """A new empty folder under the system's temporary folder, gone afterwards.

    The temporary folder is made again where it was removed meanwhile. Raises StorageError when that
    fails, and when the scratch folder itself is removed while it is used.
    """
    with _new_folder(prefix) as name:
        folder = Path(name)
        try:
            yield folder
        except (OSError, ReferenceFailure) as err:
            if folder.exists():
                raise
            raise StorageError(
                f"The scratch folder {folder} was removed while a calculation used it. Keep "
                "clean-up jobs away from it, or set TMPDIR to a folder that stays."
            ) from err


def _new_folder(prefix: str) -> TemporaryDirectory[str]:
    try:
        parent = Path(gettempdir())
        parent.mkdir(parents=True, exist_ok=True)
        return TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True)
    except OSError as err:
        raise StorageError(
            f"Cannot make a scratch folder: {err}. Expected a temporary folder that can be "
            "written to; set TMPDIR to one."
        ) from err


def _storage_trouble(err: BaseException | None) -> StorageError | None:
    """Of the error or of one of those it came from."""
    while err is not None:
        if isinstance(err, OSError) and err.errno in STORAGE_ERRORS:
            return StorageError(f"{STORAGE_ERRORS[err.errno]}. The system said: {err}")
        err = err.__cause__ or err.__context__
    return None


def _is_out_of_memory(err: BaseException) -> bool:
    """torch raises RuntimeError for memory it cannot have, with words of its own."""
    text = str(err).lower()
    return isinstance(err, MemoryError) or (
        isinstance(err, RuntimeError) and ("allocate memory" in text or "out of memory" in text)
    )


def _read_end(file: Path) -> str:
    with file.open("rb") as stream:
        stream.seek(max(file.stat().st_size - LONGEST_FILE, 0))
        return stream.read(LONGEST_FILE).decode(errors="replace")
