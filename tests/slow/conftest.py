"""What several tests of real engines need."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "slurm.sh"
SEARCH = f"{os.environ['PATH']}:/usr/sbin:/sbin"

sys.path.append(str(Path(__file__).parents[1] / "integration"))


@pytest.fixture(scope="session")
def slurm() -> Iterator[None]:
    """A real Slurm of one node, which scripts/slurm.sh starts and stops."""
    for program in ("slurmctld", "slurmd", "munged"):
        if shutil.which(program, path=SEARCH) is None:
            pytest.skip(f"{program} is not installed: apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("only root can start a Slurm")
    told = subprocess.run(
        [SCRIPT, "start"], check=True, timeout=60, stdout=subprocess.PIPE, text=True
    ).stdout
    exports = dict(re.findall(r"^export (\w+)=(.*)$", told, flags=re.MULTILINE))
    folder = exports["VOLTALOOP_SLURM_FOLDER"]
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SLURM_CONF", exports["SLURM_CONF"])
        try:
            yield
        finally:
            subprocess.run([SCRIPT, "stop", folder], check=True, timeout=90)
    shutil.rmtree(folder)
