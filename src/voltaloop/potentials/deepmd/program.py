"""The program ``dp``: where it is, whether it can be used, and running it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from voltaloop.core import MissingDependencyError, StorageError, VoltaloopError

ENVIRONMENT = ".deepmd"
"""Where ``make deepmd`` puts the environment, in the working directory."""

MAJOR = 3
"""Version of DeePMD-kit whose commands and files are known here."""

ANSWER_S = 120.0
"""Seconds that dp may take to tell its version; the first start on a cold disk takes some."""

SHOWN_LINES = 15
"""Last lines of a program's output that an error shows."""

_REMEDY = (
    "Make an environment for it with: make deepmd (2 GB), or with: python3 -m venv ENV && "
    "ENV/bin/pip install 'deepmd-kit[cpu]==3.2.0', and name it in potential.dp: ENV"
)
_NOISE = ("implib-gen:",)
"""Beginnings of lines that a CPU build prints of CUDA libraries that it does not need."""


class DeepmdError(VoltaloopError):
    """DeePMD-kit failed; the text holds its last lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """dp: the program; python: the interpreter of its environment; version: such as "3.2.0"."""

    dp: str
    python: str
    version: str

    def run(self, *arguments: str, folder: Path) -> None:
        """Run ``dp --tf`` with the arguments in a folder, its output added to dp.log there."""
        log = folder / "dp.log"
        with log.open("ab") as output:
            code = subprocess.run(  # noqa: S603 - a list, no shell; the program is the user's choice
                [self.dp, "--tf", *arguments],
                cwd=folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
        if code != 0:
            said = log.read_text(errors="replace")
            raise failure(f"dp {' '.join(arguments)} ended with code {code}", said)


def find_program(dp: str | None) -> Program:
    """The program that the option ``dp`` means; MissingDependencyError says what is missing."""
    path = _path(dp)
    version = _version(path)
    if int(version.split(".")[0]) != MAJOR:
        raise MissingDependencyError(
            f"{path} is DeePMD-kit {version}; the potential 'deepmd' needs version {MAJOR}. "
            f"{_REMEDY}"
        )
    python = _interpreter(path)
    if not _has_tensorflow(python):
        raise MissingDependencyError(
            f"DeePMD-kit of {path} has no TensorFlow, which the potential 'deepmd' trains with. "
            f"{_REMEDY}"
        )
    return Program(dp=path, python=python, version=version)


def _path(dp: str | None) -> str:
    candidates = [dp, f"{dp}/bin/dp"] if dp is not None else ["dp", f"{ENVIRONMENT}/bin/dp"]
    for candidate in candidates:
        found = shutil.which(os.path.expanduser(candidate))
        if found is not None:
            return os.path.abspath(found)
    looked = (
        f"potential.dp names {dp}, which is neither a program nor an environment with bin/dp"
        if dp is not None
        else f"there is no program dp in PATH and no environment {Path(ENVIRONMENT).absolute()}"
    )
    raise MissingDependencyError(f"DeePMD-kit is not installed: {looked}. {_REMEDY}")


@lru_cache(maxsize=8)
def _version(path: str) -> str:
    said = _said([path, "--version"])
    found = re.search(r"v?(\d+\.\d+[\w.]*)", said)
    if found is None:
        raise MissingDependencyError(
            f"{path} --version does not tell a version of DeePMD-kit. It said: {said or '(none)'}. "
            f"{_REMEDY}"
        )
    return found.group(1)


@lru_cache(maxsize=8)
def _has_tensorflow(python: str) -> bool:
    code = "import importlib.util as u; print(u.find_spec('tensorflow') is not None)"
    return "True" in _said([python, "-c", code])


def _said(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - a list, no shell; the program is the user's choice
            list(command),
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=ANSWER_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        return str(err)
    return shown(done.stdout.decode(errors="replace"))


def _interpreter(dp: str) -> str:
    """The Python that runs dp: named in its first line, else beside it."""
    with open(dp, "rb") as script:
        first = script.readline(4096).decode(errors="replace")
    named = first[2:].split()[:1] if first.startswith("#!") and "python" in first else []
    beside = [str(Path(dp).resolve().with_name(name)) for name in ("python", "python3")]
    for candidate in [*named, *beside]:
        if os.access(candidate, os.X_OK) and Path(candidate).name != "env":
            return candidate
    raise MissingDependencyError(
        f"The Python of {dp} is not found: it is neither in the first line of that file nor beside "
        "it. Name the environment of DeePMD-kit in potential.dp (the folder with bin/dp and "
        "bin/python)."
    )


def environment() -> dict[str, str]:
    """That of this process, with as many threads as it may use, without its Python's own paths."""
    threads = os.environ.get("OMP_NUM_THREADS", "1")
    own = {"PYTHONPATH", "PYTHONHOME"}
    return {
        **{name: value for name, value in os.environ.items() if name not in own},
        "OMP_NUM_THREADS": threads,
        "DP_INTRA_OP_PARALLELISM_THREADS": threads,
        "DP_INTER_OP_PARALLELISM_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONUNBUFFERED": "1",
    }


def failure(what: str, said: str) -> DeepmdError | StorageError:
    """With the last lines of what it said; a full disk is named as such."""
    if "No space left on device" in said or "Disk quota exceeded" in said:
        return StorageError(
            f"{what}: no room is left for temporary files in {tempfile.gettempdir()}. Make room, "
            "or set TMPDIR to another place."
        )
    return DeepmdError(f"{what}. Its last lines:\n{shown(said) or '(none)'}")


def shown(text: str) -> str:
    """The last lines, without those that mean nothing."""
    lines = [line for line in text.strip().splitlines() if not line.startswith(_NOISE)]
    return "\n".join(lines[-SHOWN_LINES:])
