"""ASYNC_FLUSH: the log is synced now and then, and nobody waits for it · depth

What always holds: a timer runs only while something is dirty. Each 500 ms the log is synced if four pages are
dirty, and each 10 s whatever is dirty.

Real: org.apache.rocketmq.store.CommitLog.FlushRealTimeService (equivalent, without polling)
"""

from mq.commitlog.flush import Flusher
from mq.runtime.node import Node, Timer


class TimedFlush:
    """ASYNC_FLUSH: sync now and then. The timer runs only while something is dirty."""

    def __init__(
        self, node: Node, flusher: Flusher, interval_ms: int, least_pages: int, thorough_interval_ms: int
    ) -> None:
        self.node = node
        self.flusher = flusher
        self.interval_ms = interval_ms
        self.least_pages = least_pages
        self.thorough_interval_ms = thorough_interval_ms
        self._last_thorough_ms = node.monotonic_ms()
        self._timer: Timer | None = None
        self._has_stopped = False

    def stop(self) -> None:
        """No more ticks, also none by a flush that is under way."""
        self._has_stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def arm(self) -> None:
        """There is something to sync now."""
        if self._timer is None and not self._has_stopped:
            self._timer = self.node.call_later(self.interval_ms, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.node.spawn(self._flush_if_due(), "timed flush")

    async def _flush_if_due(self) -> None:
        log, now = self.flusher.log, self.node.monotonic_ms()
        if log.synced_to == log.written_to:
            return  # somebody else's sync has covered it
        is_thorough = now - self._last_thorough_ms >= self.thorough_interval_ms
        if is_thorough or log.dirty_pages >= self.least_pages:
            if is_thorough:
                self._last_thorough_ms = now
            if not await self.flusher.sync():
                return
        if log.synced_to < log.written_to:
            self.arm()
