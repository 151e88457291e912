"""Processes that draw side by side."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context, parent_process
from typing import Any


def finished(function: Callable[..., Any], tasks: Sequence[tuple], num_workers: int) -> Iterator[tuple[tuple, Any]]:
    """
    Calls `function(*task)` for each task and gives the results as they come.

    Args:
        function (`Callable`): of a module, so that other processes find it.
        tasks (`Sequence[tuple]`): its arguments.
        num_workers (`int`): processes, started afresh ("spawn"); with 1, or for one task, all is done in this process.

    Yields:
        `tuple`: a task and its result.
    """
    if num_workers == 1 or len(tasks) < 2:
        for task in tasks:
            yield task, function(*task)
        return
    with ProcessPoolExecutor(num_workers, mp_context=get_context("spawn"), initializer=_end_with_parent) as pool:
        running = {pool.submit(function, *task): task for task in tasks}
        for future in as_completed(running):
            yield running[future], future.result()


def _end_with_parent() -> None:
    """Ends this worker when the process that started it is gone, even if that was killed."""

    def watch() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
