"""The process that trains: ``python -m voltaloop.potentials.mace.program FOLDER``.

Every folder member-* in FOLDER has options.json for mace's own training program and may have
previous.npz, a model to go on from. What comes out is model.npz, besides the program's own files.
A process of its own because that program takes over logging, seeds and precision of the one it
runs in; one for all members because mace takes ten seconds to import.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from voltaloop.core import require
from voltaloop.potentials.mace.network import UNSAFE, load_package, to_model, to_network

OPTIONS, PREVIOUS, TRAINED = "options.json", "previous.npz", "model.npz"
NAME = "member"
FOUNDATION = "previous.model"


def main(folder: str) -> None:
    warnings.simplefilter("ignore")
    # The program opens the network that training starts from, which is a pickle.
    os.environ[UNSAFE] = "1"
    for member in sorted(Path(folder).glob("member-*")):
        train(member)


def train(member: Path) -> None:
    """Run the training program in the member's folder and keep what it made as arrays."""
    torch = require("torch", extra="mace")
    if (member / PREVIOUS).exists():
        with np.load(member / PREVIOUS) as previous:
            torch.save(to_network(dict(previous), "cpu"), member / FOUNDATION)
    program = load_package("mace.cli.run_train")
    parser = load_package("mace.tools").build_default_arg_parser()
    program.run(parser.parse_args(["--config", str(member / OPTIONS)]))
    logging.getLogger().handlers.clear()
    np.savez(member / TRAINED, **to_model(_last_network(member)))  # type: ignore[arg-type]  # names


def _last_network(member: Path) -> Any:
    """That of stage two where there was one. The file is our own, so its pickle may be opened."""
    options: Mapping[str, Any] = json.loads((member / OPTIONS).read_text())
    name = f"{NAME}_stagetwo.model" if options.get("swa") else f"{NAME}.model"
    torch = require("torch", extra="mace")
    return torch.load(member / name, map_location="cpu", weights_only=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
