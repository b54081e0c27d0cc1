"""A fitted model as arrays, and back as the files that QUIP reads.

The arrays of a model: "xml", the bytes of QUIP's parameter file without what differs between two
equal fits; "sparse/1", "sparse/2", ...: the sparse points (n_points, d) of its kernels, which QUIP
keeps in files of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

LABEL = "GAP"
"""Name of every model; gap_fit takes the time of day."""

XML_FILE = "gap.xml"

_Arrays = Mapping[str, NDArray[Any]]


def read_model(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of the model that gap_fit wrote to ``path`` and to the files named in it."""
    root = ElementTree.parse(path).getroot()  # noqa: S314 - gap_fit has just written it
    parameters = _parameters(root)
    for note in parameters.findall("command_line"):
        parameters.remove(note)
    sparse = {}
    for k, kernel in enumerate(_kernels(root), start=1):
        points = np.loadtxt(path.parent / kernel.attrib["sparseX_filename"])
        sparse[f"sparse/{k}"] = points.reshape(-1, int(kernel.attrib["dimensions"]))
    return _arrays(root, sparse)


def write_model(model: _Arrays, folder: Path) -> Path:
    """Write the files of a model; the path of its parameter file."""
    path = folder / XML_FILE
    path.write_bytes(np.asarray(model["xml"], dtype=np.uint8).tobytes())
    for kernel in _kernels(_root(model)):
        points = model[kernel.attrib["sparseX_filename"]]
        file = folder / kernel.attrib["sparseX_filename"]
        file.parent.mkdir(exist_ok=True)
        np.savetxt(file, points.ravel(), fmt="%.17e")
    return path


def mean_model(models: Sequence[_Arrays]) -> dict[str, NDArray[Any]]:
    """One model whose energies are the mean of those of several.

    Energies are linear in the weights of the sparse points, so that it has the points of all, each
    with its weight divided by the number of models. QUIP computes every descriptor once for it.
    All models have the same one-body energies, as those of one committee do.
    """
    root = _root(models[0])
    merged: dict[str, ElementTree.Element] = {}
    points: dict[str, list[NDArray[Any]]] = {}
    for model in models:
        for kernel in _kernels(_root(model)):
            descriptor = kernel.findtext("descriptor", "")
            for weight in kernel.findall("sparseX"):
                weight.set("alpha", repr(float(weight.attrib["alpha"]) / len(models)))
            points.setdefault(descriptor, []).append(model[kernel.attrib["sparseX_filename"]])
            if descriptor not in merged:
                merged[descriptor] = kernel
            else:
                merged[descriptor].extend(kernel.findall("sparseX"))
    sparse = _sparse(root)
    for kernel in sparse.findall("gpCoordinates"):
        sparse.remove(kernel)
    sparse.extend(merged.values())
    for kernel in merged.values():
        for index, weight in enumerate(kernel.findall("sparseX"), start=1):
            weight.set("i", str(index))
    stacked = {
        f"sparse/{k}": np.concatenate(points[descriptor])
        for k, descriptor in enumerate(merged, start=1)
    }
    return _arrays(root, stacked)


def _arrays(
    root: ElementTree.Element, sparse: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """The arrays of a model, its names and counts written anew."""
    root.tag = LABEL
    potential, parameters = root.find("Potential"), _parameters(root)
    if potential is None:
        raise ValueError("expected an element Potential in the model, found none")
    potential.attrib.update(label=LABEL, init_args=f"IP GAP label={LABEL}")
    parameters.set("label", LABEL)
    kernels = _kernels(root)
    _sparse(root).attrib.update(label=LABEL, n_coordinate=str(len(kernels)))
    for k, kernel in enumerate(kernels, start=1):
        kernel.attrib.pop("sparseX_md5sum", None)
        kernel.attrib.update(
            label=f"{LABEL}{k}",
            sparseX_filename=f"sparse/{k}",
            n_sparseX=str(len(kernel.findall("sparseX"))),
        )
    xml = np.frombuffer(ElementTree.tostring(root), dtype=np.uint8)
    return {"xml": xml, **sparse}


def _root(model: _Arrays) -> ElementTree.Element:
    xml = np.asarray(model["xml"], dtype=np.uint8).tobytes()
    return ElementTree.fromstring(xml)  # noqa: S314 - a model of ours, not a stranger's file


def _parameters(root: ElementTree.Element) -> ElementTree.Element:
    return _child(root, "GAP_params")


def _sparse(root: ElementTree.Element) -> ElementTree.Element:
    return _child(_parameters(root), "gpSparse")


def _kernels(root: ElementTree.Element) -> list[ElementTree.Element]:
    return _sparse(root).findall("gpCoordinates")


def _child(parent: ElementTree.Element, name: str) -> ElementTree.Element:
    found = parent.find(name)
    if found is None:
        raise ValueError(f"expected an element {name} in the model, found none")
    return found
