"""The decisions of a potential campaign: what to run next, when to stop.

Learning runs three activities at once: exploring with the newest committee, labelling what was
selected, training on what was labelled. When it stops, the final committee is examined (fresh MD,
fresh labels) and gives the answer, with the reference's own values beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from voltaloop.campaigns.answer import build_answer, estimate
from voltaloop.campaigns.cases import Case
from voltaloop.campaigns.file import CampaignFile, ladder_of
from voltaloop.campaigns.judging import verdict
from voltaloop.campaigns.state import CampaignState, Explored
from voltaloop.campaigns.tasks import CampaignTasks
from voltaloop.core import Event, FloatArray, Task
from voltaloop.store import ArtifactStore
from voltaloop.thinker import Ledger
from voltaloop.uncertainty import Candidate, Picked, TrustLevels, auto_trust, select

Decision = tuple[str, dict[str, Any]] | Task
Rule = Callable[[Ledger], Sequence[Decision]]

FRAMES_TO_PAUSE = 6
"""So many frames in a row without a label, for reasons that speak against the engine, mean that
something is wrong with all of them."""

BROKEN_FRAMES_TO_PAUSE = 18
"""The same where the reasons may lie in the frames."""

ATTEMPTS_TO_PAUSE = 18
"""So many attempts in a row at one function that all ended without a result."""

ENGINE_REASONS = frozenset(
    {"engine_failed", "not_converged", "not_finite", "crashed", "timed_out", "out_of_memory"}
)

ESTIMATE_EVERY_BATCHES = 3
"""Batches of labels between two estimates of the answer; the relaxed frames are labelled too."""

STEADY_ESTIMATES = 2
"""So many estimates in a row must meet the thresholds."""

FIRST_RUN_SHARE = 8
"""The first runs are this much shorter; every generation doubles them."""

TRAINED_ROLES = frozenset({"start", "relaxed", "uncertain", "random"})
"""What a label that enters training was chosen for."""


class PotentialPolicy:
    """Decides from the folded state alone; reads artifacts, never the clock."""

    def __init__(self, campaign: CampaignFile, store: ArtifactStore) -> None:
        self.campaign = campaign
        self.state = CampaignState()
        self._store = store
        self._position = 0
        self._given_up: Mapping[str, str] = {}
        self._tasks = CampaignTasks(campaign)
        self._ladder = ladder_of(campaign)

    def fold(self, event: Event, flight_task: Task | None, *, given_up: bool) -> None:
        self.state.fold(event, flight_task, given_up=given_up)

    def over(self) -> bool:
        state = self.state
        return any(end is not None for end in (state.answer, state.failed, state.paused))

    def decide(self, ledger: Ledger) -> Sequence[Decision]:
        if self.over():
            return []
        self._position, self._given_up = ledger.position, ledger.given_up
        learning: list[Rule] = [
            self._open,
            self._judge,
            self._climb,
            self._pause,
            self._train,
            self._stop,
            self._select,
            self._estimate,
            self._explore,
        ]
        finishing: list[Rule] = [
            self._judge,
            self._climb,
            self._pause,
            self._train,
            self._relax_final,
            self._audit_runs,
            self._audit_labels,
            self._relax_with_reference,
            self._score,
            self._conclude,
        ]
        for rule in learning if self.state.stopped is None else finishing:
            if decisions := rule(ledger):
                return decisions
        return []

    # -- learning ---------------------------------------------------------------------------

    def _open(self, ledger: Ledger) -> Sequence[Decision]:
        """At the opening: label the starting frames and lithium metal."""
        if ledger.known or not self.state.facts:
            return []
        lithium = self._tasks.relax_reference(self.state.facts["lithium_metal"], "bcc Li")
        decisions = self._with_purpose(lithium, role="lithium")
        for start in self.state.facts["starting"]:
            task = self._tasks.label({"frame": start["frame"]}, f"start x={start['x']:.2f}")
            decisions += self._with_purpose(task, role="start", x=start["x"], temperature=None)
        return decisions

    def _judge(self, ledger: Ledger) -> Sequence[Decision]:
        """Take back labels that do not fit those of the same lithium content."""
        state = self.state
        used = self._labels_in_training(ledger)
        pending = [*state.labels[used:], *(state.audit if state.score is None else [])]
        known = [*state.labels, *state.audit]
        for one in pending:
            if refusal := verdict(one, known, self.campaign.reference.gate):
                facts = {"task": one.task.id, "role": one.origin}
                return [("withdrawn", {**facts, "reason": refusal[0], "detail": refusal[1]})]
        return []

    def _climb(self, _: Ledger) -> Sequence[Decision]:
        """The next try for every refused calculation, or its quarantine."""
        decisions: list[Decision] = []
        for case in self.state.cases.by_id.values():
            if case.status == "begin_anew":
                decisions += self._try_anew(case)
            elif case.status == "open":
                decisions += self._try_next(case)
        return decisions

    def _try_anew(self, case: Case) -> list[Decision]:
        again = case.again + 1
        task = self._tasks.once_more(case.task, None, again)
        return self._try(case, task, rung="", rung_index=-1, again=again)

    def _try_next(self, case: Case) -> list[Decision]:
        for index, rung in enumerate(self._ladder):
            if index > case.rung and case.last.reason in rung.reasons:
                task = self._tasks.once_more(case.task, rung, case.again)
                if task.id not in self.state.purposes:
                    place = {"rung_index": index, "again": case.again}
                    return self._try(case, task, rung=rung.name, **place)
        why = {"reason": case.last.reason, "detail": case.last.detail}
        return [("quarantined", {"case": case.id, **why})]

    def _try(self, case: Case, task: Task, **place: Any) -> list[Decision]:
        return [("purpose", {**case.purpose, "task": task.id, "case": case.id, **place}), task]

    def _pause(self, ledger: Ledger) -> Sequence[Decision]:
        """End the session of a campaign that cannot get on, with the common reason."""
        trouble = self._trouble(ledger)
        if trouble is None:
            return []
        reason, cases = trouble
        return [("paused", {"reason": reason, "cases": sorted(cases)})]

    def _trouble(self, ledger: Ledger) -> tuple[str, Iterable[str]] | None:
        """What stands in the way, and the cases to begin anew when it is mended."""
        state = self.state
        if state.stuck is not None:
            return state.stuck, ()
        if (common := self._common_failure()) is not None:
            return common, state.cases.failing_for_good
        for function, count in ledger.failures_in_a_row.items():
            if count >= ATTEMPTS_TO_PAUSE:
                why = f"the last {count} attempts at '{function}' all failed, the latest with "
                return f"{why}{ledger.last_failures[function]}", state.cases.failing_for_good
        busy = any(f.task.function == "label" for f in ledger.flights.values())
        if state.generation < 0 and ledger.known and not busy and not self._enough_to_train():
            starting = [case for case in state.cases.quarantine if case.role == "start"]
            counts = most_common([case.last.reason for case in starting])
            why = f"too few starting frames could be labelled ({counts})"
            return why, [case.id for case in starting]
        return None

    def _common_failure(self) -> str | None:
        """What the latest frames all failed with, when they are too many for chance."""
        failing = self.state.cases.failing
        speak_against_engine = sum(reason in ENGINE_REASONS for reason in failing.values())
        broken = len(failing) >= BROKEN_FRAMES_TO_PAUSE
        if speak_against_engine < FRAMES_TO_PAUSE and not broken:
            return None
        latest = self.state.cases.by_id[next(reversed(failing))].last
        return (
            f"the last {len(failing)} frames all got no label ({most_common(failing.values())}), "
            f"the latest with {latest.reason}: {latest.detail}"
        )

    def _train(self, ledger: Ledger) -> Sequence[Decision]:
        """Train when a batch is in, or when no more labels are under way."""
        state = self.state
        new = state.labels[state.trained_count :]
        if not new or self._is_training(ledger):
            return []
        under_way = self._labels_under_way(ledger)
        first = state.generation < 0
        if under_way and (first or len(new) < self.campaign.select.batch):
            return []
        if first and not self._enough_to_train():
            return []
        return self._with_purpose(
            self._tasks.train(
                state.generation + 1,
                state.facts["species"],
                new,
                state.trainings[-1] if state.trainings else None,
            ),
            role="train",
            count=len(state.labels),
        )

    def _stop(self, ledger: Ledger) -> Sequence[Decision]:
        """Why learning ends, or nothing."""
        if self.state.generation < 0:
            return []
        if len(self.state.labels) >= self.campaign.stop.labels:
            return [("stopped", {"reason": "labels"})]
        if self._is_certain():
            return [("stopped", {"reason": "certain"})]
        if "wall_time" in ledger.marks:
            return [("stopped", {"reason": "wall_time"})]
        return []

    def _select(self, ledger: Ledger) -> Sequence[Decision]:
        """Choose frames of the newest runs for labelling."""
        runs = self.state.fresh_runs
        if not runs:
            return []
        relaxed = [c for run in runs if run.at_rest for c in self._candidates(run)]
        room = self._label_room(ledger, spare=len(relaxed))
        if room <= 0:
            return []
        picks = self._picks(runs, relaxed, room)
        by_task = {run.task: run for run in runs}
        decisions: list[Decision] = [("selected", {"runs": list(by_task), "count": len(picks)})]
        for pick in picks:
            task_id, _, index = pick.key.partition(":")
            decisions += self._selection(by_task[task_id], int(index), pick.origin, pick)
        return decisions

    def _picks(self, runs: list[Explored], relaxed: list[Candidate], room: int) -> list[Picked]:
        """Frames to label; at least one at random, so that a potential that is sure of everything
        goes on being examined."""
        wanted = self.campaign.select
        share = wanted.random_share * (self.state.selected + room) - self.state.selected_random
        frames = [c for run in runs if not run.at_rest for c in self._candidates(run)]

        def picked(n_random: int) -> list[Picked]:
            return select(
                frames,
                self._known_descriptors(),
                self.trust(),
                count=room,
                n_random=n_random,
                rng=self._rng(),
                relaxed=relaxed,
            )

        return picked(int(np.ceil(max(share, 0.0)))) or picked(1)

    def _estimate(self, ledger: Ledger) -> Sequence[Decision]:
        """From time to time, what the answer would be now."""
        state, generation = self.state, self._generation_to_estimate()
        if generation is None:
            return []
        missing = [i for i in self._ordering_indices() if (generation, i) not in state.relaxed]
        if missing:
            return self._relax_tasks(ledger, generation, missing)
        if state.lithium is None:
            return []
        found = estimate(state, generation)
        labels = self.state.trained_count
        return [("estimated", {"generation": generation, "labels": labels, **found})]

    def _explore(self, ledger: Ledger) -> Sequence[Decision]:
        """Keep the workers busy with runs of the newest committee, one run ahead of the labels."""
        ahead = len(self.state.fresh_runs) >= ledger.capacity["explore"]
        if self.state.generation < 0 or ahead or not ledger.free("explore"):
            return []
        ordering = self._next_ordering(self.state.explorations_started)
        task = self._tasks.explore(
            self._ordering(ordering),
            self.state.trainings[-1],
            seed=int(self._rng().integers(2**31)),
            share=min(2**self.state.generation / FIRST_RUN_SHARE, 1.0),
            upper=self.trust().upper,
        )
        return self._with_purpose(
            task, role="explore", generation=self.state.generation, ordering=ordering
        )

    # -- finishing --------------------------------------------------------------------------

    def _settled(self, ledger: Ledger) -> bool:
        """Whether the final committee is there: nothing left to label or train."""
        learned = self.state.trained_count == len(self.state.labels)
        return learned and not self._is_training(ledger) and not self._labels_under_way(ledger)

    def _relax_final(self, ledger: Ledger) -> Sequence[Decision]:
        if not self._settled(ledger):
            return []
        generation = self.state.generation
        missing = [i for i in self._ordering_indices() if (generation, i) not in self.state.relaxed]
        return self._relax_tasks(ledger, generation, missing)

    def _audit_runs(self, ledger: Ledger) -> Sequence[Decision]:
        """One fresh full-length run at every lithium content, never stopped for uncertainty."""
        if not self._settled(ledger) or self.state.audit_begun:
            return []
        decisions: list[Decision] = []
        for k, x in enumerate(self._contents()):
            rng = self._rng(k)
            own = [i for i in self._ordering_indices() if self._ordering(i)["x"] == x]
            ordering = int(rng.choice(own))
            task = self._tasks.explore(
                self._ordering(ordering),
                self.state.trainings[-1],
                seed=int(rng.integers(2**31)),
                share=1.0,
                upper=None,
            )
            decisions += self._with_purpose(
                task, role="audit", generation=self.state.generation, ordering=ordering
            )
        return decisions

    def _audit_labels(self, _: Ledger) -> Sequence[Decision]:
        """Frames of the audit runs picked at random, evenly over the contents."""
        runs, contents = self.state.audit_runs, self._contents()
        if self._audit_labels_asked() or len(runs) < len(contents):
            return []
        rng = self._rng()
        sampled = sorted((run for run in runs if run.result["force_sigma"]), key=lambda r: r.task)
        if not sampled:
            outcomes = most_common([run.result["outcome"] for run in runs])
            detail = runs[-1].result["detail"]
            reason = f"no audit run gave a single frame ({outcomes}, the latest: {detail})"
            return [("paused", {"reason": reason, "cases": []})]
        places = _evenly(sampled, self.campaign.audit.labels, rng)
        return [d for run, i in places for d in self._selection(run, i, "audit", None)]

    def _relax_with_reference(self, ledger: Ledger) -> Sequence[Decision]:
        """The reference's own relaxations, from where the committee came to rest."""
        if not self.campaign.reference.relax or not self._settled(ledger):
            return []
        known = {
            p["ordering"] for p in self.state.purposes.values() if p["role"] == "relax_reference"
        }
        decisions: list[Decision] = []
        for i in self._ordering_indices():
            relaxed = self.state.relaxed.get((self.state.generation, i))
            if relaxed is not None and i not in known:
                start = relaxed.get("frame", self._ordering(i)["frame"])
                x = self._ordering(i)["x"]
                task = self._tasks.relax_reference(start, f"reference relaxes x={x:.2f}")
                decisions += self._with_purpose(task, role="relax_reference", ordering=i)
        return decisions

    def _score(self, ledger: Ledger) -> Sequence[Decision]:
        """Score the audit when all its labels are in."""
        refused = [case for case in self.state.cases.quarantine if case.role == "audit"]
        asked = self._audit_labels_asked()
        if not asked or len(self.state.audit) + len(refused) < asked:
            return []
        if self.state.score is not None or not ledger.free("train"):
            return []
        if not self.state.audit:
            reasons = most_common([case.last.reason for case in refused])
            reason = f"every audit label was refused ({reasons})"
            return [("paused", {"reason": reason, "cases": sorted(case.id for case in refused)})]
        task = self._tasks.score(self.state.trainings[-1], self.state.audit)
        return self._with_purpose(task, role="score")

    def _conclude(self, ledger: Ledger) -> Sequence[Decision]:
        """When everything is in: the answer."""
        state = self.state
        if ledger.flights or state.score is None or state.lithium is None:
            return []
        if not all((state.generation, i) in state.relaxed for i in self._ordering_indices()):
            return []
        answer = build_answer(self.campaign, state)
        return [("answered", {"answer": answer})]

    # -- what the rules share -----------------------------------------------------------------

    def trust(self) -> TrustLevels:
        """Trust levels of the latest committee on the calibrated scale, eV/Å."""
        wanted = self.campaign.select
        return auto_trust(
            self.state.trainings[-1]["noise_floor"],
            lower=wanted.lower_trust_eV_per_A,
            upper=wanted.upper_trust_eV_per_A,
        )

    def _audit_labels_asked(self) -> int:
        return sum(
            purpose["role"] == "audit" and "index" in purpose and "case" not in purpose
            for purpose in self.state.purposes.values()
        )

    def _rng(self, *more: int) -> np.random.Generator:
        """Random numbers that depend on the campaign's seed and the place in the log alone."""
        return np.random.default_rng([self.campaign.seed, self._position, *more])

    def _enough_to_train(self) -> bool:
        return len(self.state.labels) >= int(self.campaign.potential.options.get("members", 8))

    def _labels_in_training(self, ledger: Ledger) -> int:
        """Labels that have entered training, or are entering it now."""
        under_way: list[int] = [
            self.state.purposes[flight.task.id]["count"]
            for flight in ledger.flights.values()
            if flight.task.function == "train"
        ]
        return max([self.state.trained_count, *under_way])

    def _is_training(self, ledger: Ledger) -> bool:
        """One training follows the other, because each continues from the one before."""
        return any(flight.task.function == "train" for flight in ledger.flights.values())

    def _labels_under_way(self, ledger: Ledger) -> int:
        return sum(
            flight.task.function == "label"
            and self.state.purposes[flight.task.id]["role"] in TRAINED_ROLES
            for flight in ledger.flights.values()
        )

    def _label_room(self, ledger: Ledger, spare: int = 0) -> int:
        """How many frames may be selected now: half a batch at most, within batch and budget.

        ``spare``: relaxed frames, which may exceed the batch but not the budget.
        """
        under_way = self._labels_under_way(ledger)
        untrained = len(self.state.labels) - self.state.trained_count
        batch = self.campaign.select.batch
        budget = self.campaign.stop.labels - len(self.state.labels) - under_way
        usual = min(batch - under_way - untrained, max(batch // 2, 1))
        return min(max(usual, 0) + spare, budget)

    def _contents(self) -> list[float]:
        return sorted({o["x"] for o in self.state.facts["orderings"]}, reverse=True)

    def _ordering_indices(self) -> range:
        return range(len(self.state.facts["orderings"]))

    def _ordering(self, index: int) -> Any:
        return self.state.facts["orderings"][index]

    def _next_ordering(self, turn: int) -> int:
        """Contents take turns, and so do the orderings of a content."""
        contents = self._contents()
        x = contents[turn % len(contents)]
        own = [i for i in self._ordering_indices() if self._ordering(i)["x"] == x]
        return own[(turn // len(contents)) % len(own)]

    def _generation_to_estimate(self) -> int | None:
        """The generation whose answer is being computed, or is due."""
        state, stop = self.state, self.campaign.stop
        if stop.volume_change_percent is None and stop.voltage_V is None:
            return None
        last = state.estimates[-1]["generation"] if state.estimates else -1
        begun = [p["generation"] for p in state.purposes.values() if p["role"] == "relax"]
        if begun and max(begun) > last:
            return int(max(begun))
        batch = self.campaign.select.batch
        first = len(state.facts["starting"]) - (ESTIMATE_EVERY_BATCHES - 1) * batch
        seen = state.estimates[-1]["labels"] if state.estimates else first
        due = state.trained_count >= seen + ESTIMATE_EVERY_BATCHES * batch
        return state.generation if due else None

    def _is_certain(self) -> bool:
        stop, recent = self.campaign.stop, self.state.estimates[-STEADY_ESTIMATES:]
        if len(recent) < STEADY_ESTIMATES:
            return False
        limits = {
            "volume_change_err": stop.volume_change_percent,
            "average_voltage_err": stop.voltage_V,
        }
        asked = {name: limit for name, limit in limits.items() if limit is not None}
        return bool(asked) and all(
            e[name] is not None and e[name] <= limit
            for e in recent
            for name, limit in asked.items()
        )

    def _candidates(self, run: Explored) -> list[Candidate]:
        if not run.result["force_sigma"]:
            return []
        descriptors = self._store.get_arrays(run.result["descriptors"])["descriptors"]
        return [
            Candidate(key=f"{run.task}:{i}", sigma=sigma, descriptor=descriptors[i])
            for i, sigma in enumerate(run.result["force_sigma"])
        ]

    def _known_descriptors(self) -> FloatArray:
        """Descriptors of all frames labelled or being labelled."""
        trained = self._store.get_arrays(self.state.trainings[-1]["descriptors"])["descriptors"]
        others = [
            self._store.get_arrays(name)["descriptors"][index]
            for name, index in self.state.untrained_descriptors.values()
        ]
        known: FloatArray = np.vstack([trained, *others]) if others else trained
        return known

    def _selection(self, run: Explored, index: int, role: str, pick: Any) -> list[Decision]:
        result = run.result
        x = self._ordering(run.ordering)["x"]
        reason = "fresh MD, at random" if pick is None else pick.reason
        source = (
            {"frame": result["frame"]}
            if run.at_rest
            else {"samples": result["samples"], "index": index}
        )
        return self._with_purpose(
            self._tasks.label(source, f"{role} x={x:.2f}"),
            role=role,
            x=x,
            temperature=result["temperatures"][index],
            step=result["sample_steps"][index],
            descriptors=result["descriptors"],
            generation=run.generation,
            sigma=result["force_sigma"][index],
            reason=reason,
            index=index,
        )

    def _with_purpose(self, task: Task, **purpose: Any) -> list[Decision]:
        """The task, after an event that says what it is for; alone where it had been given up."""
        if task.id in self.state.purposes:
            return [task] if task.id in self._given_up else []
        return [("purpose", {"task": task.id, **purpose}), task]

    def _relax_tasks(self, ledger: Ledger, generation: int, orderings: list[int]) -> list[Decision]:
        """Committee relaxations, as many as there are free workers."""
        decisions: list[Decision] = []
        begun = {
            p["ordering"]
            for p in self.state.purposes.values()
            if p["role"] == "relax" and p["generation"] == generation
        }
        waiting = [i for i in orderings if i not in begun][: ledger.free("explore")]
        for i in waiting:
            task = self._tasks.relax_committee(self._ordering(i), self.state.trainings[generation])
            decisions += self._with_purpose(task, role="relax", generation=generation, ordering=i)
        return decisions


def most_common(reasons: Iterable[str]) -> str:
    """``"not_converged 5 times, crashed once"``."""
    counts = Counter(reasons).most_common()
    return ", ".join(f"{reason} {'once' if n == 1 else f'{n} times'}" for reason, n in counts)


def _evenly(
    runs: list[Explored], count: int, rng: np.random.Generator
) -> list[tuple[Explored, int]]:
    """(run, sample index) of ``count`` different frames at random, evenly over the runs."""
    orders = [rng.permutation(len(run.result["force_sigma"])).tolist() for run in runs]
    picked: list[tuple[Explored, int]] = []
    while len(picked) < count and any(orders):
        for run, order in zip(runs, orders, strict=True):
            if order and len(picked) < count:
                picked.append((run, int(order.pop())))
    return picked
