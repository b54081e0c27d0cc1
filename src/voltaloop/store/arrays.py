"""Named arrays as bytes: an npz without pickle, the same bytes for the same arrays."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3


def arrays_to_bytes(arrays: Mapping[str, Any]) -> bytes:
    """An npz file that ``numpy.load`` reads. :func:`numpy.savez` would store the time of day.

    Members are in the order of their names, arrays in C order. Raises TypeError for an array of
    Python objects, which only pickle could store.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            member = zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH)
            member.create_system = _UNIX
            archive.writestr(member, _npy(name, arrays[name]))
    return buffer.getvalue()


def arrays_from_bytes(data: bytes) -> Arrays:
    """The arrays of :func:`arrays_to_bytes`."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _npy(name: str, values: Any) -> bytes:
    array = np.asarray(values, order="C")
    if array.dtype.hasobject:
        raise TypeError(
            f"Array '{name}': expected numbers, booleans or fixed-length text, got Python objects. "
            "Give it a dtype, for example numpy.asarray(values, dtype=float)."
        )
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    return buffer.getvalue()
