"""The script that answers for frozen models inside DeePMD-kit's environment: ``python serve.py``.

It imports nothing of voltaloop. Requests come on standard input, answers go to standard output:
the length of a JSON header (8 bytes, little-endian), the header, and the float64 numbers that
``numbers`` of the header counts. It ends when its standard input ends.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

LENGTH = struct.Struct("<Q")


def main() -> None:
    answers = _own_output()
    questions = sys.stdin.buffer
    models: dict[str, Any] = {}
    while (asked := receive(questions)) is not None:
        header, numbers = asked
        try:
            told, result = ACTIONS[header["do"]](models, header, numbers)
        except Exception as err:  # noqa: BLE001 - it is told to the one who asked
            told, result = {"error": f"{type(err).__name__}: {err}"}, np.empty(0)
        send(answers, told, result)


def _own_output() -> BinaryIO:
    """Standard output for answers alone: what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def open_model(models: dict[str, Any], header: dict[str, Any], _: Any) -> tuple[Any, Any]:
    """Read a frozen model from a file, which is not needed any more afterwards."""
    model = import_module("deepmd.infer").DeepPot(header["file"])
    models[header["model"]] = model
    return {"type_map": model.get_type_map()}, np.empty(0)


def close_model(models: dict[str, Any], header: dict[str, Any], _: Any) -> tuple[Any, Any]:
    models.pop(header["model"], None)
    return {}, np.empty(0)


def evaluate(models: dict[str, Any], header: dict[str, Any], numbers: Any) -> tuple[Any, Any]:
    """Energy, forces and virial of positions and a cell, in this order."""
    kinds = np.array(header["kinds"])
    n = len(kinds)
    energy, forces, virial = models[header["model"]].eval(
        numbers[: 3 * n].reshape(1, 3 * n), numbers[3 * n :].reshape(1, 9), kinds
    )[:3]
    parts = [np.ravel(part).astype(np.float64) for part in (energy, forces, virial)]
    return {}, np.concatenate(parts)


def tidy(_: dict[str, Any], header: dict[str, Any], __: Any) -> tuple[Any, Any]:
    """Write a frozen model again so that the same content has the same bytes."""
    file = Path(header["file"])
    graph = import_module("tensorflow").compat.v1.GraphDef()
    graph.ParseFromString(file.read_bytes())
    file.write_bytes(graph.SerializeToString(deterministic=True))
    return {}, np.empty(0)


ACTIONS = {"open": open_model, "close": close_model, "evaluate": evaluate, "tidy": tidy}


def send(stream: BinaryIO, header: dict[str, Any], numbers: Any) -> None:
    values = np.ascontiguousarray(numbers, dtype="<f8")
    text = json.dumps({**header, "numbers": values.size}).encode()
    stream.write(LENGTH.pack(len(text)) + text + values.tobytes())
    stream.flush()


def receive(stream: BinaryIO) -> tuple[dict[str, Any], Any] | None:
    """Header and numbers, or None where the stream has ended."""
    start = stream.read(LENGTH.size)
    if len(start) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(start)
    header = json.loads(stream.read(length))
    numbers = np.frombuffer(stream.read(8 * header["numbers"]), dtype="<f8")
    return header, numbers


if __name__ == "__main__":
    sys.path.pop(0)  # this folder: its files are no modules for DeePMD-kit
    main()
