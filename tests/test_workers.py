"""Processes that draw side by side: from any script, with errors passed on, and none left behind."""

import os
import signal
import subprocess
import sys
import time

import pytest

from leaml_hf.data.workers import finished

SCRIPT = """
import os, time
from leaml_hf.data.workers import finished
print(os.getpid(), flush=True)
for task, result in finished({function}, {tasks}, 2):
    print(task, result, flush=True)
"""  # no main guard, as in a notebook or a first script


@pytest.mark.parametrize("num_workers", [1, 2])
def test_each_task_comes_with_its_result(num_workers):
    assert sorted(finished(pow, [(2, n) for n in range(5)], num_workers)) == [((2, n), 2**n) for n in range(5)]
    assert list(finished(pow, [], num_workers)) == []


@pytest.mark.parametrize("num_workers", [1, 2])
def test_an_error_of_a_worker_is_passed_on(num_workers):
    with pytest.raises(ZeroDivisionError):
        list(finished(divmod, [(1, 1), (1, 0)], num_workers))


def test_a_script_needs_no_main_guard(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(function="pow", tasks=[(2, 3), (2, 4)]))
    told = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=True)
    assert sorted(told.stdout.splitlines()[1:]) == ["(2, 3) 8", "(2, 4) 16"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_end_with_a_killed_parent():
    script = SCRIPT.format(function="time.sleep", tasks=[(0.1,), (0.1,), (60,), (60,)])
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        parent.stdout.readline()  # a worker is at work
        listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=True)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    left = {int(child) for child in listed.stdout.split()}
    assert left
    while left and time.monotonic() < deadline:
        left = {child for child in left if os.path.exists(f"/proc/{child}")}
        time.sleep(0.2)
    assert not left
