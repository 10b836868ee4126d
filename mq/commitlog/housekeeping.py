"""Housekeeping: derived stores become durable, and the checkpoint follows · depth

What always holds: the checkpoint moves only after the sync that makes it true. Each second what pays is
written, each minute everything is written and synced, and a timer runs only while something is dirty.

Real: org.apache.rocketmq.store.DefaultMessageStore.FlushConsumeQueueService (equivalent, without polling)
"""

import asyncio

from mq.commitlog.checkpoint import Checkpoint
from mq.commitlog.config import MessageStoreConfig
from mq.commitlog.flush import Flusher
from mq.commitlog.put import Dispatcher
from mq.runtime.node import Node, Timer


class Housekeeping:
    """Of one store, for all of its derived stores together."""

    def __init__(
        self,
        node: Node,
        config: MessageStoreConfig,
        flusher: Flusher,
        dispatchers: list[Dispatcher],
        checkpoint: Checkpoint,
    ) -> None:
        self.node = node
        self.config = config
        self.flusher = flusher
        self.dispatchers = dispatchers
        self.checkpoint = checkpoint
        self._timer: Timer | None = None
        self._has_stopped = False
        self._flushing = asyncio.Lock()
        self._last_thorough_ms = node.monotonic_ms()

    def arm(self) -> None:
        """Something was dispatched that is not durable yet."""
        if self.dispatchers and self._timer is None and not self._has_stopped:
            self._timer = self.node.call_later(self.config.flush_interval_consume_queue, self._tick)

    def stop(self) -> None:
        """No more ticks, also none by a flush that is under way."""
        self._has_stopped = True
        if self._timer is not None:
            self._timer.cancel()

    async def flush(self, thorough: bool) -> bool:
        """Returns whether everything dispatched is durable now; a thorough flush ends with the checkpoint."""
        async with self._flushing:
            try:
                durable = {derived.name: await derived.flush(thorough) for derived in self.dispatchers}
                if thorough:
                    self._move_checkpoint(durable)
                    await self.checkpoint.write()
            except OSError as error:
                self.node.journal.complain("queues not flushed", error=str(error))
                return False
        return None not in durable.values()

    def _tick(self) -> None:
        self._timer = None
        self.node.spawn(self._flush_what_is_due(), "flush derived stores")

    async def _flush_what_is_due(self) -> None:
        now = self.node.monotonic_ms()
        thorough = now - self._last_thorough_ms >= self.config.flush_consume_queue_thorough_interval
        if thorough:
            self._last_thorough_ms = now
            await self.flusher.sync()
        if not (await self.flush(thorough) and thorough):
            self.arm()

    def _move_checkpoint(self, durable: dict[str, int | None]) -> None:
        times = self.checkpoint.times
        times["physic"] = max(times["physic"], self.flusher.log.synced_store_timestamp_ms)
        for name, timestamp_ms in durable.items():
            times[name] = max(times[name], timestamp_ms or 0)
        for name in ("logics", "index"):
            if name not in durable:  # without that floor, nothing of it can be missing
                times[name] = times["physic"]
