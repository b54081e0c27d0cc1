"""Damaged artifacts are put aside and made again, by the task that made them first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from voltaloop.core import ArtifactError, Event, Task
from voltaloop.store import ArtifactStore, find_names
from voltaloop.thinker import Outcome

Json = Mapping[str, Any]
Again = Callable[[Task], Outcome]
Tell = Callable[[str], None]


def is_worn(events: Iterable[Event], store: ArtifactStore) -> bool:
    """Whether any artifact of a log is damaged or missing."""
    return any(_lost(facts, store) for facts in map(_facts, events) if facts is not None)


def heal(
    events: Iterable[Event],
    store: ArtifactStore,
    reopen: Callable[[], Json],
    again: Again,
    tell: Tell,
) -> list[tuple[str, Json]]:
    """Make every damaged or missing artifact of a log again; the "restored" events to record.

    Where a task does not give the same bytes twice (a wall time in a label), the new artifact
    stands in for the old one. What an engine wrote about a failed calculation is not made again:
    it is there for people, and another run may fail in another way. reopen: gives the opening's
    facts anew; again: runs a task and waits for it; tell: says to the user what is going on.
    Raises ArtifactError for what cannot be made again.
    """
    restored: list[tuple[str, Json]] = []
    tasks: dict[str, Task] = {}
    for event in events:
        if event.kind == "submitted":
            task = Task.from_json(event.data["task"])
            tasks[task.id] = task
        facts = _facts(event)
        if facts is None or not (lost := _lost(facts, store)):
            continue
        if event.kind == "opened":
            _say(tell, lost, "the opening")
            _put_aside(lost, store)
            _reopened(facts, reopen(), store)
        else:
            task = tasks[event.data["id"]]
            _say(tell, lost, task.title)
            _put_aside(lost, store)
            store.results_drop(task.id)
            replaced = _stand_in(facts, again(task).result, store)
            restored.append(("restored", {"id": task.id, "lost": lost, "replaced": replaced}))
    return restored


def _facts(event: Event) -> Json | None:
    """What of an event names artifacts that the campaign needs."""
    match event.kind:
        case "opened":
            return event.data
        case "finished":
            return _without_files(event.data["result"])
        case _:
            return None


def _without_files(result: Json) -> Json:
    if "refused" not in result:
        return result
    refusal = {key: value for key, value in result["refused"].items() if key != "files"}
    return {**result, "refused": refusal}


def _lost(facts: Json, store: ArtifactStore) -> list[str]:
    """Damaged or missing artifacts that a result names, directly or through others."""
    names = set(find_names(facts))
    lost = set(store.damaged(names))
    nested = {one for name in names - lost for one in _named_inside(name, store)} - names
    return sorted(lost | set(store.damaged(nested)))


def _named_inside(name: str, store: ArtifactStore) -> set[str]:
    return set(find_names(store.get_json(name))) if name.endswith(".json") else set()


def _put_aside(lost: list[str], store: ArtifactStore) -> None:
    for name in lost:
        store.set_aside(name)


def _say(tell: Tell, lost: list[str], title: str) -> None:
    noun = "artifact is" if len(lost) == 1 else "artifacts are"
    tell(f"{len(lost)} {noun} damaged or missing and made again: {title}")


def _reopened(old: Json, new: Json, store: ArtifactStore) -> None:
    """The opening has no chance in it: other frames would be those of another material."""
    if still := store.damaged(find_names(old)):
        changed = [f"{before[:8]} is {after[:8]} now" for before, after in _pairs(old, new)]
        raise ArtifactError(
            f"Artifacts {', '.join(sorted(still))} in {store.root} are damaged, and the opening of "
            f"the campaign gives other frames than it did ({changed[0] if changed else 'fewer'}): "
            "the structure file or a package has changed since. Bring back the structure file as "
            "it was, or restore the artifacts from a copy."
        )


def _stand_in(old: Json, new: Json, store: ArtifactStore) -> dict[str, str]:
    """Let new artifacts stand in for old ones at the same places; old name → new name."""
    replaced = _replaced(old, new, store) if _alike(old, new) else {}
    missing = store.damaged(replaced)
    for name in missing:
        store.stand_in(name, replaced[name])
    if still := _lost(old, store):
        raise ArtifactError(
            f"Artifacts {', '.join(still)} in {store.root} are damaged and could not be "
            "made again: the calculation gave something else this time. Restore the files from a "
            "copy."
        )
    return {name: replaced[name] for name in missing}


def _replaced(old: Any, new: Any, store: ArtifactStore) -> dict[str, str]:
    """Old name → new name of what is not the same, artifacts named inside others included."""
    replaced: dict[str, str] = {}
    for before, after in _pairs(old, new):
        if before == after:
            continue
        replaced[before] = after
        if before.endswith(".json") and not store.damaged([before]):
            replaced |= _replaced(store.get_json(before), store.get_json(after), store)
    return replaced


def _pairs(old: Any, new: Any) -> Iterator[tuple[str, str]]:
    """Artifact names at the same places of two JSON objects."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() & new.keys()):
            yield from _pairs(old[key], new[key])
    elif isinstance(old, list) and isinstance(new, list):
        for one, other in zip(old, new, strict=False):
            yield from _pairs(one, other)
    elif isinstance(old, str) and isinstance(new, str) and find_names(old) and find_names(new):
        yield old, new


def _alike(old: Any, new: Any) -> bool:
    """Whether the new result has all that the old one had, and lists as long: a shorter run, whose
    frames the log has counted, cannot stand in."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return old.keys() <= new.keys() and all(_alike(old[key], new[key]) for key in old)
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_alike, old, new))
    return not any(isinstance(one, Mapping | list) for one in (old, new))
