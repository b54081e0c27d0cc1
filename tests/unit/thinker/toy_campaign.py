"""A campaign in small: square numbers until their sum is large enough."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voltaloop.core import Event, Task
from voltaloop.thinker import Ledger, Mind, Outcome

CAPACITY = {"square": 2, "sum": 1}
FACTS = {"numbers": [2, 3, 5, 7]}


def square_task(number: int) -> Task:
    return Task(
        function="square",
        version=1,
        pool="square",
        inputs={"number": number},
        title=f"square {number}",
    )


def sum_task(squares: Sequence[int]) -> Task:
    return Task(
        function="sum", version=1, pool="sum", inputs={"squares": list(squares)}, title="add up"
    )


@dataclass(slots=True)
class ToyPolicy:
    """Squares every number, with one note per result, then adds up what could be squared.

    ``bias`` makes it another policy: it then decides otherwise.
    """

    bias: int = 0
    numbers: list[int] = field(default_factory=list)
    asked: int = 0
    squares: dict[int, int] = field(default_factory=dict)
    noted: int = 0
    total: int | None = None
    halted: bool = False
    sessions: int = 0
    gave_up: int = 0

    def fold(self, event: Event, flight_task: Task | None, *, given_up: bool) -> None:
        self.gave_up += given_up
        match event.kind:
            case "opened":
                self.numbers = list(event.data["numbers"])
            case "session":
                self.sessions += 1
            case "submitted" if event.data["task"]["function"] == "square":
                self.asked += event.data["attempt"] == 1
            case "finished" if flight_task is not None and flight_task.function == "square":
                self.squares[flight_task.inputs["number"]] = event.data["result"]["value"]
            case "finished":
                self.total = event.data["result"]["value"]
            case "noted":
                self.noted += 1
            case "halted":
                self.halted = True
            case _:
                pass

    def decide(self, ledger: Ledger) -> Sequence[tuple[str, dict[str, Any]] | Task]:
        if self.over():
            return []
        if self.noted < len(self.squares):
            return [
                ("noted", {"position": ledger.position, "known": len(self.squares) + self.bias})
            ]
        if self.asked < len(self.numbers) and ledger.free("square"):
            return [square_task(self.numbers[self.asked])]
        if "deadline" in ledger.marks and not ledger.flights:
            return [("halted", {})]
        settled = len(self.squares) + len(ledger.given_up) == len(self.numbers)
        task = sum_task(sorted(self.squares.values()))
        if self.numbers and settled and task.id not in ledger.known:
            return [task]
        return []

    def over(self) -> bool:
        return self.total is not None or self.halted


def new_mind(bias: int = 0) -> Mind:
    return Mind(ToyPolicy(bias=bias), CAPACITY)


def value_of(task: Task) -> int:
    if task.function == "square":
        return int(task.inputs["number"]) ** 2
    return sum(task.inputs["squares"])


def outcome(value: Any) -> Outcome:
    return Outcome(result={"value": value}, started=1.0, ended=2.0, cpu_s=0.5)


def perform(task: Task) -> Outcome:
    return outcome(value_of(task))


def perform_in_a_while(folder: str, task: Task) -> Outcome:
    """Leaves a trace of every start, and waits as long as the file "hold" lies in the folder."""
    marks = Path(folder)
    (marks / f"{task.title}.{os.getpid()}.{time.monotonic_ns()}").touch()
    while (marks / "hold").exists():
        time.sleep(0.01)
    return perform(task)


def refuse_even(task: Task) -> Outcome:
    """A Doer with a defect."""
    if task.inputs.get("number") == 2:
        raise ArithmeticError(f"cannot square {task.inputs['number']}")
    return perform(task)


def die(task: Task) -> Outcome:
    """The worker's process ends in this task."""
    if task.inputs.get("number") == 3:
        os._exit(7)
    return perform(task)
