"""A fitted model as arrays, without QUIP."""

from pathlib import Path

import numpy as np
import pytest

from voltaloop.potentials.gap.model import mean_model, read_model, write_model

KERNEL = """    <gpCoordinates label="GAP_2020_1_1_{k}" dimensions="{d}" n_sparseX="{n}"
      sparseX_filename="gap.xml.sparseX.GAP_2020_1_1_{k}" sparseX_md5sum="abc">
      <theta> 1.0 </theta>
      <descriptor>{descriptor}</descriptor>
{weights}
    </gpCoordinates>
"""


def fitted(folder: Path, kernels: dict[str, tuple[list[float], list[list[float]]]]) -> Path:
    """Files in the manner of gap_fit; kernels: descriptor to its weights and sparse points."""
    folder.mkdir()
    text = ""
    for k, (descriptor, (weights, points)) in enumerate(kernels.items(), start=1):
        lines = "\n".join(
            f'<sparseX i="{i}" alpha="{w!r}" sparseCutoff="1.0"/>'
            for i, w in enumerate(weights, start=1)
        )
        text += KERNEL.format(
            k=k, d=len(points[0]), n=len(weights), descriptor=descriptor, weights=lines
        )
        np.savetxt(folder / f"gap.xml.sparseX.GAP_2020_1_1_{k}", np.ravel(points), fmt="%.20e")
    label = folder.name
    (folder / "gap.xml").write_text(
        f'<GAP_{label}><Potential label="GAP_{label}" init_args="IP GAP label=GAP_{label}"/>'
        f'<GAP_params label="GAP_{label}" gap_version="1"><GAP_data do_core="F"/>'
        f'<gpSparse label="GAP_{label}" n_coordinate="{len(kernels)}" fitted="T">\n{text}'
        f"</gpSparse><command_line><![CDATA[ at_file={label} ]]></command_line>"
        f"</GAP_params></GAP_{label}>"
    )
    return folder / "gap.xml"


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


def test_equal_fits_have_equal_arrays_whenever_they_were_made(tmp_path: Path) -> None:
    kernels = {"soap": ([1.0 / 3.0, -2e5], [[0.1, 0.2, 0.3], [1 / 7, 0.0, 1e-9]])}
    first = read_model(fitted(tmp_path / "2020_1_1", kernels))
    later = read_model(fitted(tmp_path / "2021_2_2", kernels))
    assert same(first, later)
    np.testing.assert_array_equal(first["sparse/1"], kernels["soap"][1])
    assert b"2020" not in first["xml"].tobytes()


def test_a_model_that_is_written_and_read_is_the_same(tmp_path: Path) -> None:
    kernels = {"pair": ([1.5], [[2.1]]), "soap": ([0.1, 0.2], [[1 / 3, 0.2], [0.5, 2 / 3]])}
    model = read_model(fitted(tmp_path / "fit", kernels))
    (tmp_path / "again").mkdir()
    assert same(read_model(write_model(model, tmp_path / "again")), model)


def test_the_mean_has_the_sparse_points_of_all_with_their_share_of_the_weight(
    tmp_path: Path,
) -> None:
    one = read_model(fitted(tmp_path / "a", {"pair": ([4.0], [[2.0]]), "soap": ([1.0], [[0.5]])}))
    other = read_model(
        fitted(tmp_path / "b", {"soap": ([3.0, 5.0], [[0.6], [0.7]]), "third": ([8.0], [[9.0]])})
    )
    mean = mean_model([one, other])
    np.testing.assert_array_equal(mean["sparse/1"], [[2.0]])
    np.testing.assert_array_equal(mean["sparse/2"], [[0.5], [0.6], [0.7]])
    np.testing.assert_array_equal(mean["sparse/3"], [[9.0]])
    xml = mean["xml"].tobytes().decode()
    assert [float(part.split('"')[1]) for part in xml.split("alpha=")[1:]] == [
        2.0, 0.5, 1.5, 2.5, 4.0,
    ]  # fmt: skip
    assert [part.split('"')[1] for part in xml.split("sparseX i=")[1:]] == [
        "1", "1", "2", "3", "1",
    ]  # fmt: skip
    assert 'n_coordinate="3"' in xml
    assert 'n_sparseX="3"' in xml


def test_a_file_that_is_no_model_says_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "gap.xml").write_text("<nothing/>")
    with pytest.raises(ValueError, match="expected an element GAP_params"):
        read_model(tmp_path / "gap.xml")
