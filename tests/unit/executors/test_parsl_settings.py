from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from voltaloop.core import CampaignFolderError, MissingDependencyError
from voltaloop.executors.catalogue import PoolWork
from voltaloop.executors.parsl.pool import ParslPool
from voltaloop.executors.parsl.settings import DIRECTIVES, OPTIONS_OF, ParslSettings

SLURM = {"provider": "slurm", "walltime": "12h"}


def settings(**values: Any) -> ParslSettings:
    return ParslSettings.model_validate(values)


def refusal(**values: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        settings(**values)
    return str(caught.value)


def test_without_any_option_there_is_one_worker_of_this_machine() -> None:
    default = settings()
    assert (default.provider, default.max_blocks, default.workers_per_block) == ("local", 1, 1)
    assert ParslPool(default).capacity == 1


def test_every_option_says_what_it_is() -> None:
    fields = ParslSettings.model_fields
    assert [name for name, field in fields.items() if not field.description] == []
    assert set(OPTIONS_OF) <= set(fields)


def test_the_capacity_counts_the_workers_of_all_blocks() -> None:
    wanted = settings(**SLURM, max_blocks=3, nodes=2, workers_per_node=4)
    assert ParslPool(wanted).capacity == 24


def test_each_worker_gets_as_many_cores_as_threads_unless_told_otherwise() -> None:
    assert settings(**SLURM, threads=4, workers_per_node=8).cores_per_node == 32
    assert settings(**SLURM, threads=4, cores_per_worker=16).cores_per_node == 16


@pytest.mark.parametrize(
    ("given", "text"), [("90s", "00:02:00"), ("1h", "01:00:00"), ("2d", "48:00:00")]
)
def test_the_walltime_is_in_the_words_of_schedulers_and_never_shorter(
    given: str, text: str
) -> None:
    assert settings(provider="slurm", walltime=given).walltime_text == text


@pytest.mark.parametrize("provider", sorted(DIRECTIVES))
def test_a_cluster_must_be_told_how_long_a_block_may_run(provider: str) -> None:
    assert f"walltime: provider {provider} needs to be told" in refusal(provider=provider)


def test_an_option_of_other_providers_is_refused() -> None:
    told = refusal(partition="debug")
    assert "partition: provider local has no such option, only slurm has. Remove it." in told
    told = refusal(provider="pbs", walltime="1h", partition="debug")
    assert "only slurm has. It calls them queues: use queue. Remove it." in told
    told = refusal(**SLURM, queue="debug")
    assert "only pbs, lsf or flux has. It calls them partitions: use partition." in told
    assert "walltime: provider local has no such option" in refusal(walltime="1h")
    assert "use scheduler_options, '#BSUB -M'" in refusal(
        provider="lsf", walltime="1h", memory_per_node_GB=8
    )
    assert "Its workers connect to 127.0.0.1." in refusal(address="10.0.0.1")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"min_blocks": 2}, "min_blocks: expected at most max_blocks, 1, got 2."),
        ({"init_blocks": 2}, "init_blocks: expected at most max_blocks, 1, got 2."),
        ({"drain": "12h"}, "drain: expected less than the walltime, 43200 s, got 43200 s"),
        ({"heartbeat_limit": "1s"}, "heartbeat_limit: expected 3 s or more, got 1 s"),
        ({"ports": [5000, 4000]}, "ports: expected two rising numbers up to 65536, got 5000"),
        ({"address": "login01"}, "expected the IP address of this machine that the nodes reach"),
        ({"account": "a b"}, "account"),
        ({"worker_init": ["a\nb"]}, "worker_init"),
        (
            {"scheduler_options": ["module load gpaw"]},
            "expected lines that begin with '#SBATCH', which slurm reads, got 'module load gpaw'",
        ),
        ({"walltime": 3600}, "expected a number with a unit s, m, h or d"),
        ({"node": 2}, "node"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any], told: str) -> None:
    assert told in refusal(**{**SLURM, **wrong})


def test_several_nodes_need_a_provider_that_starts_workers_on_each() -> None:
    assert "nodes: expected 1 for provider local, got 2" in refusal(nodes=2)
    assert settings(**SLURM, nodes=2).workers_per_block == 2


def test_a_pool_tells_what_it_is() -> None:
    assert ParslPool(settings(workers_per_node=2)).describe() == (
        "Parsl: up to 1 block on this machine, 2 workers each"
    )
    wanted = settings(**SLURM, partition="batch", max_blocks=2, nodes=4, workers_per_node=1)
    assert ParslPool(wanted).describe() == (
        "Parsl: up to 2 jobs of slurm (batch), 4 nodes with 1 worker each, walltime 12:00:00"
    )


def test_a_pool_tells_which_lines_a_shell_runs() -> None:
    wanted = settings(
        **SLURM, worker_init=["module load gpaw"], scheduler_options=["#SBATCH -C skylake"]
    )
    assert ParslPool(wanted).executes() == ["#SBATCH -C skylake", "module load gpaw"]


def test_a_machine_without_the_scheduler_is_told_where_to_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("parsl")
    monkeypatch.setenv("PATH", "/nowhere")
    ParslPool(settings()).check_installed()
    with pytest.raises(MissingDependencyError, match=r"'bsub'.* on a login node of the cluster"):
        ParslPool(settings(provider="lsf", walltime="1h")).check_installed()


@pytest.mark.parametrize(
    ("provider", "name"), [(SLURM, "my campaign"), (SLURM, "$HOME"), ({}, "{x}"), ({}, "it's")]
)
def test_a_folder_that_no_command_could_name_is_refused(
    provider: dict[str, Any], name: str, tmp_path: Path
) -> None:
    work = PoolWork(name="label", folder=tmp_path / name)
    with pytest.raises(
        CampaignFolderError, match=r"expected a path without .* and .*\. Use another"
    ):
        ParslPool(settings(**provider)).start(work)
