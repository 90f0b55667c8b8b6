"""Shares work out among processes, and shows how far it is."""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import multiprocessing.resource_tracker
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import cv2

from tfau.core.errors import DatasetError

Task = TypeVar("Task")
Result = TypeVar("Result")
Advance = Callable[[int], None]


def run(
    work: Callable[[Task, Advance], Result],
    tasks: Sequence[Task],
    *,
    processes: int,
    total: int,
    noun: str,
) -> list[Result]:
    """Does tasks in worker processes, and shows on stderr how far it is.

    If this process is killed, its workers end at their next sign of life.

    Args:
        work: A function that another process can import. It is called with a task and a function
            to which it tells how many things it has done since it last told.
        tasks: The tasks; those that take longest should come first.
        processes: Most processes to start.
        total: How many things there are to do in all tasks.
        noun: What they are, e.g. `frames`.

    Returns:
        The results, in the order in which they came.

    Raises:
        DatasetError: If a worker dies.
        ValueError: As `work` raises it, and so are OSError and ImportError. The other tasks are
            stopped.
    """
    # A fork would share locks and OpenGL contexts with this process.
    context = multiprocessing.get_context("spawn")
    waiting = list(reversed(tasks))
    workers: dict[Connection[Any, Any], BaseProcess] = {}
    results: list[Result] = []
    try:
        with _interrupts_held_back():
            for _ in range(min(processes, len(tasks))):
                ours, theirs = context.Pipe()
                workers[ours] = context.Process(target=_serve, args=(work, theirs), daemon=True)
                workers[ours].start()
                theirs.close()
        with _shown(total, noun) as advance:
            for connection, worker in workers.items():
                with _alive(worker):
                    connection.send(waiting.pop())
            busy = set(workers)
            while busy:
                for connection in busy.intersection(wait(list(busy))):
                    with _alive(workers[connection]):
                        message = connection.recv()
                    if isinstance(message, Exception):
                        raise message
                    if isinstance(message, int):
                        advance(message)
                        continue
                    results.extend(message)
                    if not waiting:
                        busy.remove(connection)
                        continue
                    with _alive(workers[connection]):
                        connection.send(waiting.pop())
    finally:
        for connection, worker in workers.items():
            connection.close()
            worker.terminate()
            worker.join()
    return results


def _serve(work: Callable[[Any, Advance], Any], connection: Connection[Any, Any]) -> None:
    """Does tasks until there is nobody left who sends any."""
    cv2.setNumThreads(1)
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            task = connection.recv()
            try:
                answer: list[Any] | Exception = [work(task, connection.send)]
            except (ValueError, OSError, ImportError) as error:
                answer = error
            connection.send(answer)  # an int is a sign of life, a list the end of a task


@contextlib.contextmanager
def _alive(worker: BaseProcess) -> Iterator[None]:
    """Turns a broken connection to a worker into the sentence that it died."""
    try:
        yield
    except (EOFError, ConnectionError):
        worker.join(10)
        raise DatasetError(
            f"A worker process died (exit status {worker.exitcode}); start again to go on where "
            "it was."
        ) from None


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Makes processes that are started inside the `with` deaf to Ctrl-C, which reaches us too.

    They inherit what is blocked, so there is no moment in which they would hear it.
    """
    # Python starts this helper with the first process, and unblocks SIGINT when it has.
    multiprocessing.resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _shown(total: int, noun: str) -> Iterator[Advance]:
    """Shows a bar on a terminal, and a line per minute elsewhere."""
    start = told = time.monotonic()
    done = 0

    def pace() -> str:
        return f"{done / max(time.monotonic() - start, 1e-3):.1f} {noun}/s"

    def tell(count: int) -> None:
        nonlocal done, told
        done += count
        if time.monotonic() > told + 60:
            told = time.monotonic()
            print(f"{done} of {total} {noun}, {pace()}", file=sys.stderr, flush=True)

    if not (sys.stderr.isatty() and importlib.util.find_spec("rich")):
        yield tell
        return

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeLeft())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(noun, total=total)

        def advance(count: int) -> None:
            nonlocal done
            done += count
            bar.update(task, completed=done, description=pace())

        yield advance
