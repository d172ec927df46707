"""Lanes: work for one task is done in the order it came, work for different tasks side by side."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

AT_ONCE = 128  # threads; most wait for a systemctl that waits for a run to end

Work = Callable[[], None]


class Lanes:
    """`put` never waits. What the work raises is lost: it must see to that by itself."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="lane")
        self._lock = threading.Condition()
        self._queues: dict[str, deque[Work]] = {}

    @property
    def are_empty(self) -> bool:
        """Whether nothing is waiting or being done."""
        return not self._queues

    def put(self, lane: str, work: Work) -> None:
        """Have `work` done after what is on its lane already."""
        with self._lock:
            if lane in self._queues:
                self._queues[lane].append(work)
                return
            self._queues[lane] = deque([work])
        self._pool.submit(self._empty, lane)

    def put_once(self, lane: str, work: Work) -> None:
        """`put`, unless the same work waits there and has not begun."""
        with self._lock:
            if work in list(self._queues.get(lane, ()))[1:]:
                return
        self.put(lane, work)

    def wait(self) -> None:
        """Return when nothing is waiting or being done."""
        with self._lock:
            self._lock.wait_for(lambda: self.are_empty)

    def _empty(self, lane: str) -> None:
        # Work stays at the head of its queue while it is done, so that the lane is seen to be busy.
        queue = self._queues[lane]
        while True:
            with suppress(Exception):  # a log whose reader is gone, say: the lane must not end with it
                queue[0]()
            with self._lock:
                queue.popleft()
                if not queue:
                    del self._queues[lane]
                    self._lock.notify_all()
                    return
