"""Content-addressed files: structures, labels, models, design rows, trajectories."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from voltaloop.core import ArtifactError, canonical_json
from voltaloop.store.arrays import Arrays, arrays_from_bytes, arrays_to_bytes
from voltaloop.store.files import (
    TEMPORARY_SUFFIX,
    move_aside,
    opened_folder,
    remove,
    write_atomically,
)
from voltaloop.store.trouble import file_trouble

DAMAGED = "damaged"
"""Folder of the store in which damaged files are kept."""

_NAME = re.compile(r"[0-9a-f]{64}\.[a-z0-9]{1,16}")
_KEY = re.compile(r"[0-9a-f]{64}")
_SUFFIX = re.compile(r"[a-z0-9]{1,16}")


class ArtifactStore:
    """Files under ``root``, each named by the SHA-256 of its content: ``<sha256>.<suffix>``.

    What is written is there whole and durable, or not at all; writing the same content again does
    nothing. A file is checked against its name on first reading in a process, and again when it
    has changed. Beside them are the memo (``memo_get``, ``memo_put``), a cache named by the hash
    of *what was computed*, which may be deleted at any time; and the results
    (``results_get``, ``results_put``) of tasks that ended and are not in the event log yet.

    Root may be a link to another disk; below it no link is followed for writing, moving or
    deleting. Whatever keeps a file from being written or read, other than damage, is a
    StorageError. Any number of processes may use one store. A store is only its root path: cheap
    to pickle.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def __repr__(self) -> str:
        return f"ArtifactStore({str(self.root)!r})"

    def put_bytes(self, data: bytes, suffix: str) -> str:
        """Store ``data``; its name. A damaged file of that name is repaired.

        Raises ValueError for a suffix that is not 1 to 16 of a-z and 0-9, StorageError when the
        file cannot be written.
        """
        if not _SUFFIX.fullmatch(suffix):
            raise ValueError(
                f"Artifact suffix: expected 1 to 16 of a-z and 0-9 without a dot, got {suffix!r}."
            )
        name = f"{hashlib.sha256(data).hexdigest()}.{suffix}"
        if not self._matches(name):
            self._write(_place(name), data)
        return name

    def get_bytes(self, name: str) -> bytes:
        """The content of an artifact. Raises ArtifactError when it is missing or damaged."""
        return _read(self.path(name))

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
        if not file.is_file() and (other := self._stand_in_of(name)) is not None:
            return self.path(other)
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
        if self._matches(name):
            return True
        other = None if self.has(name) else self._stand_in_of(name)
        return other is not None and self.verify(other)

    def damaged(self, names: Iterable[str]) -> list[str]:
        """Those of ``names`` that are missing or whose content does not match, each once."""
        return [name for name in dict.fromkeys(names) if not self.verify(name)]

    def set_aside(self, name: str) -> Path | None:
        """Move a damaged file to ``damaged/<name>.<n>`` in the root, where it is kept.

        None when there is none: it is missing, or was repaired meanwhile.
        """
        return None if self._matches(name) else self._set_aside(_place(name))

    def stand_in(self, name: str, other: str) -> None:
        """From now on the artifact ``other`` is read where ``name``, which is lost, is asked for.

        For what cannot be computed again to the same bytes. Raises ValueError where one of them is
        the other's own stand-in.
        """
        if name in self._followed(other):
            raise ValueError(f"Artifact {name} cannot stand in for itself.")
        self._write(_stand_in_place(name), other.encode())

    def _followed(self, name: str) -> list[str]:
        chain = [name]
        while (other := self._stand_in_of(chain[-1])) is not None:
            chain.append(other)
        return chain

    def _stand_in_of(self, name: str) -> str | None:
        content = _read_if_there(self.root / _stand_in_place(name))
        text = "" if content is None else content.decode(errors="replace")
        return text if _NAME.fullmatch(text) else None

    def memo_put(self, key: str, **arrays: Any) -> None:
        """Remember ``arrays`` under ``key``, the SHA-256 of what was computed."""
        data = arrays_to_bytes(arrays)
        self._write(_memo_place(key), _checksum(data) + data, durable=False)

    def memo_get(self, key: str) -> Arrays | None:
        """What was remembered under ``key``; None when absent, truncated or damaged."""
        content = _read_if_there(self.root / _memo_place(key))
        if content is None or _checksum(content[64:]) != content[:64]:
            return None
        return arrays_from_bytes(content[64:])

    def results_put(self, key: str, obj: Any) -> None:
        """Keep the JSON result of the task with the id ``key`` until it is in the event log.

        Durable when this returns; a second result replaces the first. Raises ValueError for NaN
        and infinity, StorageError when it cannot be written.
        """
        data = canonical_json(obj).encode()
        self._write(_result_place(key), _sealed(data))

    def results_get(self, key: str) -> Any | None:
        """The result kept for the task ``key``; None when there is none.

        A truncated or damaged one is set aside (``damaged/<key>.json.<n>``) and counts as none.
        """
        content = _read_if_there(self.root / _result_place(key))
        if content is None:
            return None
        data = _unsealed(content)
        if data is None:
            self._set_aside(_result_place(key))
            return None
        return json.loads(data)

    def results_drop(self, key: str) -> None:
        """Forget the result of a task; does nothing when there is none."""
        *folders, name = _result_place(key).split("/")
        try:
            with opened_folder(self.root, *folders) as folder:
                remove(name, folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise file_trouble(f"delete {self.root / _result_place(key)}", error) from error

    def results_keep(self, keys: Container[str]) -> None:
        """Forget the results of all other tasks."""
        for file in (self.root / "results").glob("*/*.json"):
            if file.stem not in keys and _KEY.fullmatch(file.stem):
                self.results_drop(file.stem)

    def remove_leftovers(self) -> int:
        """Delete temporary files of writers that were killed; how many there were.

        Only for the holder of the campaign's lock, before it starts workers.
        """
        removed = 0
        for folder, _, files in os.walk(self.root, followlinks=False):
            for name in files:
                if name.endswith(TEMPORARY_SUFFIX):
                    (Path(folder) / name).unlink(missing_ok=True)
                    removed += 1
        return removed

    def _matches(self, name: str) -> bool:
        """Whether its own file is there and its content matches its name."""
        file = self._file(name)
        try:
            status = file.stat()
            return _digest(str(file), status.st_size, status.st_mtime_ns) == name[:64]
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return False
        except OSError as error:
            raise file_trouble(f"read {file}", error) from error

    def _file(self, name: str) -> Path:
        return self.root / _place(name)

    def _write(self, place: str, data: bytes, *, durable: bool = True) -> None:
        try:
            write_atomically(self.root, place, data, durable=durable)
        except OSError as error:
            doing = f"write {self.root / place} ({len(data)} bytes)"
            raise file_trouble(doing, error) from error

    def _set_aside(self, place: str) -> Path | None:
        try:
            return move_aside(self.root, place, DAMAGED)
        except OSError as error:
            doing = f"move {self.root / place} into {self.root / DAMAGED}"
            raise file_trouble(doing, error) from error


def find_names(obj: Any) -> set[str]:
    """All artifact names inside a JSON object: texts, keys included, that are one as a whole."""
    return {text for text in _texts(obj) if _NAME.fullmatch(text)}


def _texts(obj: Any) -> Iterator[str]:
    if isinstance(obj, str):
        yield obj
    elif isinstance(obj, Mapping):
        for key, value in obj.items():
            yield from _texts(key)
            yield from _texts(value)
    elif isinstance(obj, list | tuple):
        for value in obj:
            yield from _texts(value)


def _place(name: str) -> str:
    """Where an artifact lies under the root."""
    if not _NAME.fullmatch(name):
        raise ArtifactError(f"Artifact name: expected '<64 hex digits>.<suffix>', got {name!r}.")
    return f"{name[:2]}/{name}"


def _memo_place(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ArtifactError(f"Memo key: expected 64 hex digits, got {key!r}.")
    return f"memo/{key[:2]}/{key}.memo"


def _result_place(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ArtifactError(f"Task id of a result: expected 64 hex digits, got {key!r}.")
    return f"results/{key[:2]}/{key}.json"


def _stand_in_place(name: str) -> str:
    _place(name)
    return f"replaced/{name}"


_SEAL = (b'{"sha256":"', b'","result":', b"}")


def _sealed(data: bytes) -> bytes:
    """A JSON object that holds ``data``, itself JSON, and its checksum."""
    opening, middle, end = _SEAL
    return opening + _checksum(data) + middle + data + end


def _unsealed(content: bytes) -> bytes | None:
    """The data of :func:`_sealed`; None when it is not whole."""
    opening, middle, end = _SEAL
    data = content[len(opening) + 64 + len(middle) : -len(end)]
    return data if _sealed(data) == content else None


def _checksum(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise file_trouble(f"read {file}", error) from error


def _read_if_there(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise file_trouble(f"read {file}", error) from error


@lru_cache(maxsize=16384)
def _digest(file: str, size: int, modified_ns: int) -> str:  # noqa: ARG001 - a changed file is hashed again
    with Path(file).open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
