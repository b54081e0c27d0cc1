"""Damaged artifacts are put aside and made again, by the task that made them first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any

from voltaloop.core import ArtifactError, Event, Task
from voltaloop.store import ArtifactStore, find_names
from voltaloop.thinker import Outcome

Json = Mapping[str, Any]
Submit = Callable[[Task], Future[Outcome]]
Tell = Callable[[str], None]


def heal(
    events: Iterable[Event],
    store: ArtifactStore,
    reopen: Callable[[], Json],
    submit: Submit,
    tell: Tell,
) -> list[tuple[str, Json]]:
    """Make every damaged or missing artifact of a log again; the "restored" events to record.

    Where a task does not give the same bytes twice (a wall time in a label), the new artifact
    stands in for the old one. reopen: gives the opening's facts anew; submit: runs a task; tell:
    says to the user what is going on. Raises ArtifactError for what cannot be made again.
    """
    restored: list[tuple[str, Json]] = []
    tasks: dict[str, Task] = {}
    for event in events:
        if event.kind == "submitted":
            task = Task.from_json(event.data["task"])
            tasks[task.id] = task
        elif event.kind == "opened" and (lost := _lost(event.data, store)):
            _say(tell, lost, "the opening")
            _put_aside(lost, store)
            _stand_in(event.data, reopen(), store)
        elif event.kind == "finished" and (lost := _lost(event.data["result"], store)):
            task = tasks[event.data["id"]]
            _say(tell, lost, task.title)
            _put_aside(lost, store)
            store.results_drop(task.id)
            result = submit(task).result().result
            replaced = _stand_in(event.data["result"], result, store)
            restored.append(("restored", {"id": task.id, "lost": lost, "replaced": replaced}))
    return restored


def _lost(result: Json, store: ArtifactStore) -> list[str]:
    """Damaged or missing artifacts that a result names, directly or through others."""
    names = set(find_names(result))
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


def _stand_in(old: Json, new: Json, store: ArtifactStore) -> dict[str, str]:
    """Let new artifacts stand in for old ones at the same places; old name → new name."""
    replaced: dict[str, str] = {}
    for before, after in _pairs(old, new):
        if before == after:
            continue
        replaced[before] = after
        if before.endswith(".json") and not store.damaged([before]):
            replaced |= _stand_in(store.get_json(before), store.get_json(after), store)
    missing = store.damaged(replaced)
    for name in missing:
        store.stand_in(name, replaced[name])
    if still := store.damaged(find_names(old)):
        raise ArtifactError(
            f"Artifacts {', '.join(still)} in {store.root} are damaged and could not be made "
            "again: the calculation gave something else this time. Restore the files from a copy."
        )
    return {name: replaced[name] for name in missing}


def _pairs(old: Any, new: Any) -> Iterator[tuple[str, str]]:
    """Artifact names at the same places of two JSON objects."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in old.keys() & new.keys():
            yield from _pairs(old[key], new[key])
    elif isinstance(old, list) and isinstance(new, list):
        for one, other in zip(old, new, strict=False):
            yield from _pairs(one, other)
    elif isinstance(old, str) and isinstance(new, str) and find_names(old) and find_names(new):
        yield old, new
