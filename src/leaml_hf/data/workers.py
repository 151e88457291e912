"""Processes that draw side by side."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from joblib import Parallel, delayed


def finished(function: Callable[..., Any], tasks: Sequence[tuple], num_workers: int) -> Iterator[tuple[tuple, Any]]:
    """
    Calls `function(*task)` for each task and gives the results as they come.

    Args:
        function (`Callable`): of a module, so that other processes find it.
        tasks (`Sequence[tuple]`): its arguments.
        num_workers (`int`): processes, started afresh and without the script that called, which may lack a main
            guard; with 1, or for one task, all is done in this process.

    Yields:
        `tuple`: a task and its result.
    """
    workers = max(1, min(num_workers, len(tasks)))
    parallel = Parallel(workers, backend="loky", return_as="generator_unordered", batch_size=1)
    yield from parallel(delayed(_with_task)(os.getpid(), function, task) for task in tasks)


def _with_task(caller: int, function: Callable[..., Any], task: tuple) -> tuple[tuple, Any]:
    if caller != os.getpid():
        _end_with(caller)
    return task, function(*task)


@cache
def _end_with(caller: int) -> None:
    """Ends this worker when the process that started it is gone, even if that was killed."""

    def watch() -> None:
        while os.getppid() == caller:
            time.sleep(1)
        os._exit(1)

    if os.name == "posix":  # elsewhere the parent's number stays; idle workers end by themselves after some minutes
        threading.Thread(target=watch, daemon=True).start()
