"""What voltaloop's workers run in the steering benchmark, in a module that any worker imports."""

import resource
import time

from steering_work import rest

from voltaloop.core import Task
from voltaloop.thinker import Outcome


def perform(task: Task) -> Outcome:
    """Run a task in this process, as a campaign's workers do."""
    started, cpu = time.time(), _cpu_seconds()
    result = rest(**task.inputs)
    return Outcome(result=result, started=started, ended=time.time(), cpu_s=_cpu_seconds() - cpu)


def _cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
