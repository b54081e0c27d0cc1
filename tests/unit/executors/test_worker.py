import os
import subprocess
import sys
import time

import psutil

PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", '''
import os, threading, time
from voltaloop.executors.worker import watch_parent
threading.Thread(target=watch_parent, args=({pid}, 0.05), daemon=True).start()
print("ready", flush=True)
time.sleep(1000)
'''.format(pid=os.getpid())], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(1000)
"""


def test_where_the_kernel_does_not_help_a_thread_ends_the_worker_with_its_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    psutil.wait_procs([worker], timeout=20)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


def test_a_worker_whose_parent_is_already_dead_does_not_begin() -> None:
    program = "from voltaloop.executors.worker import end_with_parent; end_with_parent({pid})"
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", f"{program.format(pid=os.getpid() + 1)}; print('began')"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert time.monotonic() - started < 20
