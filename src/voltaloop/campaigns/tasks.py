"""The tasks of a potential campaign: what each Doer is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from voltaloop.campaigns.doers import DOERS
from voltaloop.campaigns.file import CampaignFile
from voltaloop.campaigns.state import Labelled
from voltaloop.core import Rung, Task

Json = Mapping[str, Any]

RELAX_FORCE_LIMIT = 0.01
"""eV/Å, for committee and reference alike: soft layers move long after the energy has settled."""

KEPT_FROM_TRAINING = ("committee", "examples", "hyperparameters", "calibrations", "scores")
"""What a training hands to the next one."""


class CampaignTasks:
    """Builds tasks from the campaign file and from what the campaign has found so far.

    ordering: one of the opening's; trained: the result of a training.
    """

    def __init__(self, campaign: CampaignFile) -> None:
        reference, potential = campaign.reference, campaign.potential
        self._explore = campaign.explore
        self._reference = {
            "reference": {"engine": reference.engine, "options": reference.options},
            "gate": reference.gate.model_dump(exclude_defaults=True),
        }
        self._potential: dict[str, Any] = {
            "potential": {"engine": potential.engine, "options": potential.options}
        }
        self._relaxation = {
            "pressure_GPa": campaign.explore.pressure_GPa,
            "force_limit": RELAX_FORCE_LIMIT,
        }

    def label(self, source: Json, title: str) -> Task:
        """``source``: the frame's artifact, or samples and index of a run."""
        return _task("label", "label", {**self._reference, **source}, f"label {title}")

    def relax_reference(self, frame: str, title: str) -> Task:
        inputs = {**self._reference, **self._relaxation, "frame": frame}
        return _task("relax_reference", "label", inputs, title)

    def once_more(self, task: Task, rung: Rung | None, again: int) -> Task:
        """A calculation of the reference on another rung of the ladder, or begun anew.

        ``again``: counts the new beginnings, so that each is a task of its own.
        """
        reference = task.inputs["reference"]
        options, title = reference["options"], task.title
        if rung is not None:
            options, title = rung.applied_to(options), f"{title} ({rung.name})"
        inputs = {**task.inputs, "reference": {**reference, "options": options}}
        if again:
            inputs["again"] = again
        return _task(task.function, task.pool, inputs, title)

    def train(
        self,
        generation: int,
        species: Sequence[str],
        new: Sequence[Labelled],
        previous: Json | None,
        options: Json | None = None,
    ) -> Task:
        """``options``: what of the potential's options is otherwise for this training."""
        kept = None if previous is None else {key: previous[key] for key in KEPT_FROM_TRAINING}
        potential = self._potential["potential"]
        inputs = {
            "potential": {**potential, "options": {**potential["options"], **(options or {})}},
            "species": list(species),
            "new": [[one.frame, one.label] for one in new],
            "previous": kept,
        }
        return _task("train", "train", inputs, f"train generation {generation}")

    def explore(
        self, ordering: Json, trained: Json, *, seed: int, share: float, upper: float | None
    ) -> Task:
        """A run of ``share`` of the full length; ``upper``: the trust level that stops it, eV/Å."""
        explore = self._explore
        every = explore.sample_every
        steps = max(int(explore.steps * share) // every, 2) * every
        kind = "audit MD" if upper is None else "MD"
        return self._md(ordering, trained, kind, steps=steps, every=every, seed=seed, upper=upper)

    def brief_run(self, ordering: Json, trained: Json, *, steps: int) -> Task:
        """The same with so few steps that it only shows whether MD works."""
        return self._md(
            ordering, trained, "trial MD", steps=steps, every=steps // 2, seed=1, upper=None
        )

    def _md(
        self,
        ordering: Json,
        trained: Json,
        kind: str,
        *,
        steps: int,
        every: int,
        seed: int,
        upper: float | None,
    ) -> Task:
        explore = self._explore
        low, high = explore.temperature
        inputs = {
            **self._committee(trained),
            "frame": ordering["frame"],
            "plan": {
                "ensemble": explore.ensemble,
                "temperature_from": low,
                "temperature_to": high,
                "pressure_GPa": explore.pressure_GPa,
                "steps": steps,
                "sample_every": every,
                "timestep_fs": explore.timestep_fs,
                "seed": seed,
            },
            "limits": {"force_sigma": upper},
        }
        title = f"{kind} x={ordering['x']:.2f} {low:g}-{high:g} K"
        return _task("explore", "explore", inputs, title)

    def relax_committee(self, ordering: Json, trained: Json) -> Task:
        inputs = {**self._committee(trained), **self._relaxation, "frame": ordering["frame"]}
        return _task("relax_committee", "explore", inputs, f"relax x={ordering['x']:.2f}")

    def score(self, trained: Json, audit: Sequence[Labelled]) -> Task:
        entries = [
            {"frame": a.frame, "label": a.label, "x": a.x, "temperature": a.temperature}
            for a in audit
        ]
        return _task(
            "score", "train", {**self._committee(trained), "audit": entries}, "score audit"
        )

    def _committee(self, trained: Json) -> dict[str, Any]:
        return {
            **self._potential,
            "committee": trained["committee"],
            "calibrations": trained["calibrations"],
        }


def _task(function: str, pool: str, inputs: dict[str, Any], title: str) -> Task:
    version = DOERS[function].version
    return Task(function=function, version=version, pool=pool, inputs=inputs, title=title)
