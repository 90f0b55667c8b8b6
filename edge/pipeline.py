"""Runs the steps of a pipeline side by side: each in a thread, a short queue between two."""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")


def cores() -> int:
    """Counts the cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_END = object()


def yield_often() -> None:
    """Has Python's threads wait for each other for .5 ms at most, not 5: a frame takes less."""
    sys.setswitchinterval(0.0005)


class Ahead(Generic[T]):
    """Iterates over something in a thread of its own, some items ahead of whoever reads this.

    The order stays; what the thread raises is raised to the reader. Leaving the `with` stops it.

    Args:
        items: What is iterated over, once.
        size: Most items that wait.
        lossy: Whether to drop the oldest waiting item when there is no room, so that the reader
            always gets news; else the thread waits.

    Attributes:
        dropped: How many items were dropped so far.

    Example:
        >>> with Ahead(range(3)) as numbers:
        ...     list(numbers)
        [0, 1, 2]
    """

    def __init__(self, items: Iterable[T], *, size: int = 2, lossy: bool = False) -> None:
        self._items, self._lossy, self.dropped = items, lossy, 0
        self._queue: queue.Queue[Any] = queue.Queue(size)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        # A camera that gives nothing any more cannot be interrupted; its thread dies with us.
        self._thread.join(timeout=2.0)

    def __iter__(self) -> Iterator[T]:
        while True:
            item, error = self._queue.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item

    def _run(self) -> None:
        try:
            for item in self._items:
                if not self._put((item, None)):
                    return
            self._put((_END, None))
        except BaseException as error:  # noqa: BLE001  the reader decides what to make of it
            self._put((None, error))

    def _put(self, entry: tuple[Any, BaseException | None]) -> bool:
        """Queues an entry; False when nobody wants it any more."""
        # The end and an error must not push out the last item.
        lossy = self._lossy and entry[0] is not _END and entry[1] is None
        while not self._stopped.is_set():
            try:
                self._queue.put(entry, timeout=0.0 if lossy else 0.1)
            except queue.Full:
                if lossy:
                    self._drop()
            else:
                return True
        return False

    def _drop(self) -> None:
        try:
            self._queue.get_nowait()
        except queue.Empty:
            return
        self.dropped += 1
