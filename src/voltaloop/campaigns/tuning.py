"""``voltaloop tune``: a search for good options of one potential on a labelled set.

Three kinds of frames: those a committee learns from, those of the search that it is scored on, and
the test frames, which no trial sees.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from voltaloop.campaigns.comparing import shuffled
from voltaloop.campaigns.file import PotentialSection, check_engine
from voltaloop.campaigns.folder import write_json, write_text
from voltaloop.campaigns.labelled_sets import check_same_species, read_labels, without
from voltaloop.campaigns.measuring import put_examples
from voltaloop.campaigns.study_file import Choices, Range, TuneFile, with_values
from voltaloop.campaigns.studying import Bench, Measured, Request, study_versions
from voltaloop.core import (
    CampaignFileError,
    MissingDependencyError,
    canonical_json,
    digest_of,
    require,
)
from voltaloop.core.training import Example
from voltaloop.potentials import POTENTIALS
from voltaloop.report.html import write_page
from voltaloop.report.study import render_study
from voltaloop.report.tuning import Examined, Trial, Tuning, best_lines, best_of
from voltaloop.report.tuning_page import tuning_page

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

Json = dict[str, Any]
Parts = list[tuple[list[int], list[int]]]

GIVE_UP_AFTER = 8
"""Trials: when so many first ones all fail, the fault is not with the settings."""

JOURNAL = "trials.journal"

OBJECTIVES = ("energy_rmse_meV_per_atom", "force_rmse_eV_per_A")

DIGITS = 4
"""Of numbers that are tried: what is written down is exactly what was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunePlan:
    """All examples, and their places: parts (train, score) of the search, and the final test.

    labels, test, scoring: in words.
    """

    examples: Sequence[Example]
    species: tuple[str, ...]
    parts: Parts
    search: list[int]
    test: list[int]
    labels: str
    test_set: str
    scoring: str


def plan_tuning(tuned: TuneFile, base: Path) -> TunePlan:
    """Read the sets and split them; ``base``: what paths in the file are relative to.

    Raises LabelledSetError for what cannot be read, CampaignFileError for too few frames.
    """
    labels = read_labels(tuned.labels, base)
    test = None
    if tuned.test.labels is not None:
        test = read_labels(tuned.test.labels, base, "test.labels")
        check_same_species(labels, test)
        labels = without(labels, test)
    rng = np.random.default_rng(tuned.seed)
    search, held_back = shuffled(labels.examples, tuned.test.share, rng)
    if test is not None:
        held_back = [len(labels.examples) + k for k in range(len(test.examples))]
    parts = _parts(tuned, labels.examples, search)
    if not held_back:
        raise CampaignFileError("test: no frame is left to examine on. Give a larger share.")
    scored = sum(len(part[1]) for part in parts)
    return TunePlan(
        examples=[*labels.examples, *(test.examples if test else ())],
        species=labels.species,
        parts=parts,
        search=search,
        test=held_back,
        labels=labels.describe(),
        test_set=test.describe()
        if test
        else f"{len(held_back)} frames of the labels, chosen at random",
        scoring=f"{tuned.validation.folds}-fold cross-validation over {scored} frames"
        if tuned.validation.folds
        else f"a held-out share of {scored} frames, trained on {len(parts[0][0])} others",
    )


def _parts(tuned: TuneFile, examples: Sequence[Example], search: Sequence[int]) -> Parts:
    """Frames of the search by what is learned and what is scored; single atoms are never scored."""
    anchors = [i for i in search if len(examples[i].frame) == 1]
    others = [i for i in search if len(examples[i].frame) > 1]
    folds, share = tuned.validation.folds, tuned.validation.share
    if share is not None:
        scored = [others[: round(share * len(others))]]
    else:
        scored = [others[k :: folds or 1] for k in range(folds or 1)]
    parts = [([*anchors, *(i for i in others if i not in set(own))], own) for own in scored]
    if any(not own or not learned for learned, own in parts):
        raise CampaignFileError(
            f"validation: {len(others)} frames of the search are too few for it. Give more labels, "
            "fewer folds or another share."
        )
    return parts


def tune(
    tuned: TuneFile,
    text: str,
    plan: TunePlan,
    bench: Bench,
    *,
    watch: Callable[[Trial], None] = lambda _: None,
) -> Tuning:
    """Go on with the search where it stands; ``watch`` is told every trial, earlier ones first.

    The same file gives the same trials, also when it was interrupted, as long as one runs at a
    time. Raises MissingDependencyError without Optuna or the engine.
    """
    search = _Search(tuned, plan, bench)
    return search.run(text, watch)


def trials_planned(tuned: TuneFile) -> int:
    """With the present setting, which is tried first."""
    return tuned.trials + 1


class _Search:
    def __init__(self, tuned: TuneFile, plan: TunePlan, bench: Bench) -> None:
        self._tuned, self._plan, self._bench = tuned, plan, bench
        self._optuna = require("optuna", extra="tune")
        self._examples = put_examples(plan.examples, bench.store)
        self._space = {name: _distribution(one) for name, one in tuned.search.items()}

    def run(self, text: str, watch: Callable[[Trial], None]) -> Tuning:
        began = time.monotonic()
        present = self._present()
        watch(present)
        study = self._study()
        for trial in self._trials(study, began):
            watch(trial)
        trials = [self._trial(study, frozen) for frozen in self._ended(study)]
        candidates = [present, *trials]
        best = best_of(candidates)
        examined = {
            name: self._examined(trial.values)
            for name, trial in (("present", present), ("best", best))
            if trial is not None and trial.failed == ""
        }
        return Tuning(
            name=self._tuned.name,
            seed=self._tuned.seed,
            engine=self._tuned.potential.engine,
            fixed=dict(self._tuned.potential.options),
            labels=self._plan.labels,
            test=self._plan.test_set,
            scoring=self._plan.scoring,
            sampler=self._tuned.sampler,
            present=present,
            trials=trials,
            best=best,
            examined=examined,
            versions=study_versions(),
            text=text,
        )

    def _present(self) -> Trial:
        """The potential as the file has it, without anything searched."""
        (measured,) = self._bench.run([self._request({}, None)])
        if measured.not_installed:
            raise MissingDependencyError(measured.reason)
        if measured.result is None:
            return Trial(number=None, values={}, failed=measured.reason)
        return Trial.of(None, {}, measured.result)

    def _study(self) -> Study:
        """The search as its journal left it; a changed one begins anew."""
        optuna = self._optuna
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        backend = optuna.storages.journal.JournalFileBackend(str(self._bench.folder / JOURNAL))
        name = digest_of(
            {
                "examples": self._examples,
                "parts": self._plan.parts,
                "potential": self._tuned.potential.model_dump(mode="json"),
                "search": {k: v.model_dump(mode="json") for k, v in self._tuned.search.items()},
                "sampler": self._tuned.sampler,
                "seed": self._tuned.seed,
            }
        )
        study: Study = optuna.create_study(
            storage=optuna.storages.JournalStorage(backend),
            study_name=name,
            directions=["minimize", "minimize"],
            load_if_exists=True,
        )
        return study

    def _trials(self, study: Study, began: float) -> Iterator[Trial]:
        """Trials as they end: earlier ones, those that an earlier session left open, new ones."""
        for frozen in self._ended(study):
            yield self._trial(study, frozen)
        requests = self._asked(study, began)
        for measured in self._bench.run(requests):
            number = int(measured.request.about)
            self._tell(study, number, measured)
            yield self._trial(study, study.trials[number])
            self._give_up_where_all_fail(study)

    def _asked(self, study: Study, began: float) -> Iterator[Request]:
        """What to measure next, made only when there is a place for it."""
        for frozen in [trial for trial in study.trials if not trial.state.is_finished()]:
            yield self._request(self._values(frozen.params), frozen.number)
        while len(study.trials) < self._tuned.trials and not self._over(began):
            frozen = self._proposed(study)
            yield self._request(self._values(frozen.params), frozen.number)

    def _proposed(self, study: Study) -> FrozenTrial:
        """A new trial, in the journal with all its values or not at all.

        It is made by a copy of the search in memory: Optuna's own way to ask writes a trial first
        and its values one by one, and a killed search would keep half a trial.
        """
        optuna = self._optuna
        copy = optuna.create_study(
            directions=["minimize", "minimize"], sampler=self._sampler(len(study.trials))
        )
        copy.add_trials(study.trials)
        copy.ask(self._space)
        made = copy.trials[-1]
        study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.RUNNING,
                params=made.params,
                distributions=made.distributions,
                system_attrs=made.system_attrs,
            )
        )
        return study.trials[-1]

    def _over(self, began: float) -> bool:
        limit = self._tuned.wall_time
        return limit is not None and time.monotonic() - began > limit

    def _sampler(self, number: int) -> BaseSampler:
        """A sampler whose chance depends on the trial's number alone, so that a search that was
        interrupted goes on as if it had not been."""
        samplers = self._optuna.samplers
        seed = int(np.random.default_rng([self._tuned.seed, number]).integers(2**31))
        makers: dict[str, Callable[[], BaseSampler]] = {
            "tpe": lambda: samplers.TPESampler(seed=seed),
            "nsga2": lambda: samplers.NSGAIISampler(seed=seed, population_size=20),
            "random": lambda: samplers.RandomSampler(seed=seed),
        }
        return makers[self._tuned.sampler]()

    def _tell(self, study: Study, number: int, measured: Measured) -> None:
        if measured.result is None:
            self._bench.store.results_put(_failure_key(study, number), measured.reason)
            study.tell(number, state=self._optuna.trial.TrialState.FAIL)
            return
        study.tell(number, [measured.result[name] for name in OBJECTIVES])

    def _give_up_where_all_fail(self, study: Study) -> None:
        ended = self._ended(study)
        if len(ended) == GIVE_UP_AFTER and all(self._trial(study, one).failed for one in ended):
            raise CampaignFileError(
                f"The first {GIVE_UP_AFTER} settings all failed, the last one with: "
                f"{self._trial(study, ended[-1]).failed} "
                "Mend the file; a changed search begins anew."
            )

    def _ended(self, study: Study) -> list[FrozenTrial]:
        return [trial for trial in study.trials if trial.state.is_finished()]

    def _trial(self, study: Study, frozen: FrozenTrial) -> Trial:
        values = self._values(frozen.params)
        if frozen.values is None:
            reason = self._bench.store.results_get(_failure_key(study, frozen.number))
            return Trial(number=frozen.number, values=values, failed=reason or "nobody knows why")
        request = self._request(values, frozen.number)
        kept = self._bench.known(request) or dict(zip(OBJECTIVES, frozen.values, strict=True))
        return Trial.of(frozen.number, values, kept)

    def _values(self, params: Mapping[str, Any]) -> Json:
        """As the engine gets them: choices, kept as JSON, and numbers of four digits."""
        return {name: _value(self._tuned.search[name], value) for name, value in params.items()}

    def _request(self, values: Mapping[str, Any], about: Any) -> Request:
        return self._scored(values, self._plan.parts, about)

    def _scored(self, values: Mapping[str, Any], parts: Parts, about: Any) -> Request:
        options = with_values(self._tuned.potential.options, values)
        return Request(
            function="score_setting",
            inputs={
                "examples": self._examples,
                "species": list(self._plan.species),
                "potential": {"engine": self._tuned.potential.engine, "options": options},
                "parts": [[list(learned), list(own)] for learned, own in parts],
            },
            about=about,
        )

    def _examined(self, values: Mapping[str, Any]) -> Examined:
        """Trained on all frames of the search, scored on the test."""
        part = [(self._plan.search, self._plan.test)]
        (measured,) = self._bench.run([self._scored(values, part, None)])
        if measured.result is None:
            return Examined(failed=measured.reason)
        return Examined.of(measured.result)


def _failure_key(study: Study, number: int) -> str:
    return digest_of(["failed-trial", study.study_name, number])


def _value(searched: Range | Choices, value: Any) -> Any:
    if isinstance(searched, Choices):
        return json.loads(value)
    if searched.whole:
        return int(value)
    return min(max(float(f"{value:.{DIGITS}g}"), float(searched.low)), float(searched.high))


def _distribution(searched: Range | Choices) -> BaseDistribution:
    distributions = require("optuna.distributions", extra="tune")
    found: BaseDistribution
    if isinstance(searched, Choices):
        found = distributions.CategoricalDistribution(
            [canonical_json(choice) for choice in searched.choices]
        )
    elif searched.whole:
        found = distributions.IntDistribution(
            searched.low, searched.high, log=searched.log, step=searched.step or 1
        )
    else:
        found = distributions.FloatDistribution(
            float(searched.low), float(searched.high), log=searched.log, step=searched.step
        )
    return found


def best_section(tuning: Tuning) -> Json | None:
    """The best setting as the section ``potential`` of a campaign file; None without any."""
    if tuning.best is None:
        return None
    options = with_values(tuning.fixed, tuning.best.values)
    check_engine(
        POTENTIALS,
        PotentialSection.model_validate({"engine": tuning.engine, **options}),
        "potential",
        "the best setting",
    )
    return {"engine": tuning.engine, **options}


def write_tuning(tuning: Tuning, folder: Path) -> Mapping[str, Path]:
    """tune.json, tune.html and, where any setting worked, best.yaml; where they are."""
    paths = {"json": folder / "tune.json", "html": folder / "tune.html"}
    write_json(paths["json"], tuning.to_json())
    write_page(render_study(tuning_page(tuning)), paths["html"])
    section = best_section(tuning)
    if section is not None:
        paths["best"] = folder / "best.yaml"
        body = yaml.safe_dump({"potential": section}, sort_keys=False, allow_unicode=True)
        write_text(paths["best"], "\n".join([*_comments(tuning), body]))
    return paths


def _comments(tuning: Tuning) -> list[str]:
    lines = [
        f"Found by voltaloop tune ({tuning.name}): paste it into a campaign file.",
        *best_lines(tuning),
    ]
    return [f"# {line}" for line in lines]
