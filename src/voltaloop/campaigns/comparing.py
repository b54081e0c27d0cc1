"""``voltaloop compare``: several potentials on the same labels and splits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from voltaloop.campaigns.folder import write_json, write_text
from voltaloop.campaigns.labelled_sets import (
    LabelledSet,
    check_same_species,
    read_labels,
    without,
)
from voltaloop.campaigns.measuring import put_examples
from voltaloop.campaigns.study_file import ComparedPotential, CompareFile
from voltaloop.campaigns.studying import Bench, Measured, Request, study_versions
from voltaloop.core import CampaignFileError, Frame
from voltaloop.core.training import Example
from voltaloop.potentials import POTENTIALS
from voltaloop.report.comparison import (
    ComparedEngine,
    ComparedRun,
    Comparison,
    comparison_markdown,
)
from voltaloop.report.comparison_page import comparison_page
from voltaloop.report.html import write_page
from voltaloop.report.study import render_study

Json = dict[str, Any]

SHORTEST_TEST = 2
"""Frames: one for each half of the calibration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Which examples a run learns from, which come new afterwards, which it is examined on."""

    split: int
    train: list[int]
    more: list[int]
    test: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be run: all examples, and their parts by rising size.

    labels, test: the sets in words.
    """

    examples: Sequence[Example]
    species: tuple[str, ...]
    parts: Sequence[Part]
    labels: str
    test: str


def plan_comparison(compared: CompareFile, base: Path) -> Plan:
    """Read the sets and split them; ``base``: what paths in the file are relative to.

    Raises LabelledSetError for what cannot be read, CampaignFileError for sizes that are too large.
    """
    labels = read_labels(compared.labels, base)
    test = None
    if compared.test.labels is not None:
        test = read_labels(compared.test.labels, base, "test.labels")
        check_same_species(labels, test)
        labels = without(labels, test)
    examples = [*labels.examples, *(test.examples if test else ())]
    parts = [
        part for split in range(compared.splits) for part in _parts(compared, labels, test, split)
    ]
    return Plan(
        examples=examples,
        species=labels.species,
        parts=sorted(parts, key=lambda part: len(part.train)),
        labels=labels.describe(),
        test=test.describe()
        if test
        else f"{len(parts[0].test)} frames of the labels, chosen at random for each split",
    )


def _parts(
    compared: CompareFile, labels: LabelledSet, test: LabelledSet | None, split: int
) -> Iterator[Part]:
    """One part for each size; a smaller one is the beginning of a larger one."""
    rng = np.random.default_rng([compared.seed, split])
    learn, examined = shuffled(labels.examples, compared.test.share, rng)
    if test is not None:
        places = len(labels.examples) + np.arange(len(test.examples))
        examined = [int(index) for index in rng.permutation(places)]
    if len(examined) < SHORTEST_TEST:
        raise CampaignFileError(
            f"test: {len(examined)} frames to examine on are too few, {SHORTEST_TEST} or more are "
            "needed. Give a larger share."
        )
    new = compared.retrain_frames
    available = len(learn) - new
    for size in compared.train_sizes:
        wanted = available if size == "all" else size
        if not 1 <= wanted <= available:
            raise CampaignFileError(
                f"train_sizes: {wanted if size != 'all' else 'all'} frames are wanted, but "
                f"{len(labels.examples)} labels, less {len(labels.examples) - len(learn)} for the "
                f"test and {new} for retraining, leave {max(available, 0)}."
            )
        yield Part(
            split=split, train=learn[:wanted], more=learn[wanted : wanted + new], test=examined
        )


def shuffled(
    examples: Sequence[Example], share: float | None, rng: np.random.Generator
) -> tuple[list[int], list[int]]:
    """Places to learn from and, as a ``share`` of all, to examine on; both in random order.

    Single atoms come first among those to learn from: they anchor the energies, and test nothing.
    """
    single = [i for i, example in enumerate(examples) if _is_single_atom(example.frame)]
    others = [i for i, example in enumerate(examples) if not _is_single_atom(example.frame)]
    order = [others[k] for k in rng.permutation(len(others))]
    tested = round(share * len(order)) if share is not None else 0
    return [*single, *order[tested:]], order[:tested]


def _is_single_atom(frame: Frame) -> bool:
    return len(frame) == 1


def compare(
    compared: CompareFile,
    text: str,
    plan: Plan,
    bench: Bench,
    *,
    watch: Callable[[ComparedRun], None] = lambda _: None,
) -> Comparison:
    """Run what is not known yet; ``watch`` is told every run as it ends.

    What one potential cannot do is a row of its own, never the end of the comparison.
    """
    examples = put_examples(plan.examples, bench.store)
    missing = _missing(compared, bench)
    runs: list[ComparedRun] = []

    def take(run: ComparedRun) -> None:
        runs.append(run)
        watch(run)

    requests = []
    for part in plan.parts:
        for section in compared.potentials:
            known = _known(section, part)
            if section.title in missing:
                reason = missing[section.title]
                take(ComparedRun(**known, outcome="not installed", reason=reason))
            else:
                requests.append(_request(compared, section, plan, part, examples, known))
    for measured in bench.run(requests):
        take(_run_of(measured))
    order = {section.title: index for index, section in enumerate(compared.potentials)}
    runs.sort(key=lambda run: (order[run.potential], run.n_train, run.split))
    return Comparison(
        name=compared.name,
        seed=compared.seed,
        labels=plan.labels,
        test=plan.test,
        splits=compared.splits,
        retrain_frames=compared.retrain_frames,
        engines=[_engine(section) for section in compared.potentials],
        runs=runs,
        versions=study_versions(),
        text=text,
    )


def runs_planned(compared: CompareFile, plan: Plan) -> int:
    return len(plan.parts) * len(compared.potentials)


def _missing(compared: CompareFile, bench: Bench) -> dict[str, str]:
    """Potentials that are not installed, and how to install them."""
    requests = [
        Request(
            function="is_installed",
            inputs={"potential": full_section(section)},
            about=section.title,
            keep=False,
        )
        for section in compared.potentials
    ]
    return {
        str(measured.request.about): measured.reason
        for measured in bench.run(requests)
        if measured.not_installed
    }


def _known(section: ComparedPotential, part: Part) -> Json:
    return {
        "potential": section.title,
        "engine": section.engine,
        "split": part.split,
        "n_train": len(part.train),
        "n_test": len(part.test),
    }


def _request(
    compared: CompareFile,
    section: ComparedPotential,
    plan: Plan,
    part: Part,
    examples: str,
    known: Json,
) -> Request:
    return Request(
        function="compare",
        inputs={
            "examples": examples,
            "species": list(plan.species),
            "potential": full_section(section),
            "train": part.train,
            "more": part.more,
            "test": part.test,
            "md_steps": compared.md_steps,
            "threads": compared.resources.threads,
        },
        about=known,
        task_limit_s=section.task_limit,
    )


def full_section(section: Any) -> Json:
    """Engine and all its options, also those left at their defaults."""
    settings = POTENTIALS.load(section.engine).Settings.model_validate(section.options)
    return {"engine": section.engine, "options": settings.model_dump(mode="json")}


def _run_of(measured: Measured) -> ComparedRun:
    known = measured.request.about
    if measured.result is not None:
        return ComparedRun.of(measured.result, **known)
    outcome: Any = "not installed" if measured.not_installed else "failed"
    return ComparedRun(**known, outcome=outcome, reason=measured.reason)


def _engine(section: ComparedPotential) -> ComparedEngine:
    return ComparedEngine(
        name=section.title,
        engine=section.engine,
        options=full_section(section)["options"],
        notice=POTENTIALS.load(section.engine).NOTICE,
    )


def notices(sections: Sequence[Any]) -> list[str]:
    """What a user must know before using these engines, each once."""
    found = {POTENTIALS.load(section.engine).NOTICE: None for section in sections}
    return [notice for notice in found if notice]


def write_comparison(comparison: Comparison, folder: Path) -> Mapping[str, Path]:
    """compare.json, compare.md and compare.html; where they are."""
    paths = {kind: folder / f"compare.{kind}" for kind in ("json", "md", "html")}
    write_json(paths["json"], comparison.to_json())
    write_text(paths["md"], comparison_markdown(comparison))
    write_page(render_study(comparison_page(comparison)), paths["html"])
    return paths
