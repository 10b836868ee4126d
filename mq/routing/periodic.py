"""Periodic: one job, again and again, until it is stopped · depth

What always holds: a run begins only when the one before has ended. A job that raises is run again at its next
time. Periods are counted on the monotonic clock, so a jump of the wall clock changes nothing.

Real: java.util.concurrent.ScheduledExecutorService.scheduleAtFixedRate (equivalent)
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from mq.runtime.node import Node, Timer


class Periodic:
    """`job()` after `first_ms`, then each `period_ms`."""

    def __init__(
        self,
        node: Node,
        name: str,
        first_ms: float,
        period_ms: float,
        job: Callable[[], Coroutine[Any, Any, None] | None],
    ) -> None:
        self.node = node
        self.name = name
        self.first_ms = first_ms
        self.period_ms = period_ms
        self.job = job
        self._timer: Timer | None = None
        self._run: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to count."""
        self._timer = self.node.call_later(self.first_ms, self._tick)

    def stop(self) -> None:
        """No further run; one that is under way is cancelled."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._run is not None:
            self._run.cancel()
            self._run = None

    def _tick(self) -> None:
        self._timer = self.node.call_later(self.period_ms, self._tick)
        if self._run is None or self._run.done():
            work = self.job()
            self._run = self.node.spawn(work, self.name) if work is not None else None
