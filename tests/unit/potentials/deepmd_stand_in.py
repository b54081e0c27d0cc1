"""A stand-in for an environment with DeePMD-kit: its ``dp`` writes down what it is told, and its
models have a simple form times a factor. What it cannot show is that the real one agrees."""

import json
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np

from voltaloop.core import Frame, Label

MODULES = {
    "deepmd/__init__.py": "",
    "deepmd/infer.py": """
        import json, os, sys
        import numpy as np

        class DeepPot:
            def __init__(self, file):
                print("loading", file)  # libraries print to standard output
                content = json.load(open(file))
                if "species" not in content:
                    raise ValueError("not a frozen model")
                self.species, self.factor = content["species"], content["factor"]

            def get_type_map(self):
                return self.species

            def eval(self, coordinates, cells, kinds):
                if self.factor < 0:
                    sys.stderr.write("Segmentation fault of the stand-in\\n")
                    sys.stderr.flush()
                    os._exit(139)
                cell = cells.reshape(3, 3)
                if np.linalg.det(cell) < 0:
                    raise ValueError("left-handed")
                energy = np.sum(coordinates**2) + sum(np.array([3, 28, 8])[kinds])
                forces = -2 * coordinates.reshape(1, -1, 3)
                return (
                    self.factor * energy.reshape(1, 1),
                    self.factor * forces,
                    self.factor * (cell.T @ cell)[None],
                )
        """,
    "tensorflow.py": """
        class GraphDef:
            def ParseFromString(self, content):
                self.content = content

            def SerializeToString(self, deterministic):
                return self.content

        class compat:
            class v1:
                GraphDef = GraphDef
        """,
}

DP = """
    import json, sys, os
    from pathlib import Path

    told = sys.argv[1:]
    if told == ["--version"]:
        print("DeePMD-kit v" + (Path(__file__).parent / "version").read_text())
        sys.exit()
    history = Path(__file__).parents[1] / "history.jsonl"
    content = json.loads(Path("input.json").read_text())
    with history.open("a") as stream:
        record = {"told": told, "input": content, "threads": os.environ["OMP_NUM_THREADS"]}
        print(json.dumps(record), file=stream)
    if told[1] == "train":
        if content["training"]["numb_steps"] == 13:
            sys.stderr.write("implib-gen: libcudart.so.12: no such file\\nKeyError: 'unlucky'\\n")
            sys.exit(3)
        before = 0.5
        if "--init-frz-model" in told:
            before = json.load(open(told[told.index("--init-frz-model") + 1]))["factor"]
        factor = before + 0.2 + 0.01 * content["training"]["seed"]
        model = {"species": content["model"]["type_map"], "factor": factor}
        Path("model.ckpt").write_text(json.dumps(model))
        Path("lcurve.out").write_text(
            "# step rmse_val rmse_trn rmse_e_val rmse_e_trn rmse_f_val rmse_f_trn rmse_v_val "
            "rmse_v_trn lr\\n# If there is no available reference data, nan\\n"
            "0 2.0 3.0 0.1 0.2 0.3 0.4 0.5 0.6 1e-3\\n100 1.0 nan 0.05 0.1 0.2 0.2 nan 0.3 1e-5\\n"
        )
    else:
        Path(told[-1]).write_text(Path("model.ckpt").read_text())
"""


def make_environment(folder: Path, version: str = "3.2.0", *, tensorflow: bool = True) -> Path:
    """The folder, with bin/dp and bin/python as a real environment has them."""
    binaries, modules = folder / "bin", folder / "modules"
    installed = Path(np.__file__).parents[1]
    binaries.mkdir(parents=True)
    for name, text in MODULES.items():
        if tensorflow or name != "tensorflow.py":
            (modules / name).parent.mkdir(parents=True, exist_ok=True)
            (modules / name).write_text(dedent(text))
    _executable(
        binaries / "python",
        f'#!/bin/sh\nPYTHONPATH="{modules}:{installed}" exec "{sys.executable}" -S "$@"\n',
    )
    _executable(binaries / "dp", f"#!{binaries}/python\n{dedent(DP)}")
    (binaries / "version").write_text(version)
    return folder


def stand_in_label(frame: Frame, factor: float = 1.0) -> Label:
    """What its models say."""
    virial = frame.cell.T @ frame.cell
    return Label(
        energy=factor * float(np.sum(frame.positions**2) + np.sum(frame.numbers)),
        forces=-2 * factor * frame.positions,
        stress=-factor / frame.volume * virial[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
    )


def history(folder: Path) -> list[dict]:
    """What its dp was told, in this order."""
    file = folder / "history.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _executable(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o755)
