"""Tails: what queues keep in memory, and how it becomes durable · depth

What always holds: a queue is written when it has two dirty pages, once each second, or when the minute is
over, or when all tails together grow too large; never once for each message, because 50,000 queues would be
50,000 writes. No queue file is held open for writing. Only a thorough flush syncs, and only after it
everything handed over before is durable.

Real: org.apache.rocketmq.store.DefaultMessageStore.FlushConsumeQueueService (equivalent)
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TypeVar

from mq.consumequeue.queue import ConsumeQueue
from mq.runtime.disk import PAGE_BYTES
from mq.runtime.node import Node

T = TypeVar("T")

LEAST_PAGES = 2  # RocketMQ's flushConsumeQueueLeastPages
MAX_WAITING_BYTES = 32 << 20  # ours: what all tails may hold together, a bound on memory
SLICE_QUEUES = 256  # queues written before the loop gets a turn
SLICE_SYNCS = 16  # queue files synced at once: a group commit waits behind them


class Tails:
    """The queues that have a tail, in the order in which they got it."""

    def __init__(self, node: Node, least_pages: int = LEAST_PAGES) -> None:
        self.node = node
        self.least_bytes = least_pages * PAGE_BYTES
        self.queues: dict[ConsumeQueue, None] = {}
        self.waiting_bytes = 0  # about what all tails hold
        self._sync_failed = False

    def grew(self, bytes_more: int) -> None:
        """Entries were added. Writes the tails that wait longest when all together are too much."""
        self.waiting_bytes += bytes_more
        if self.waiting_bytes > MAX_WAITING_BYTES:
            try:
                self._write(list(self.queues)[:SLICE_QUEUES])
            except OSError as error:
                self.node.journal.complain("queues not written", waiting=self.waiting_bytes, error=str(error))

    async def flush(self, thorough: bool, queues: Collection[ConsumeQueue]) -> bool:
        """Write what is worth it; `thorough`: everything, and sync all of `queues`.

        Returns whether everything is durable that there was when it began. Raises OSError; after a sync that
        failed it never returns True again, because what the disk holds is in doubt.
        """
        least = 1 if thorough else self.least_bytes
        for some in slices([queue for queue in self.queues if len(queue.tail) >= least], SLICE_QUEUES):
            self._write(some)
            await self.node.sleep_ms(0)
        self.waiting_bytes = sum(len(queue.tail) for queue in self.queues)
        if not thorough or self._sync_failed:
            return False
        try:
            await self._sync(queues)
        except OSError:
            self._sync_failed = True
            raise
        return True

    def _write(self, queues: Iterable[ConsumeQueue]) -> None:
        """Raises OSError; what is left then waits on."""
        for queue in queues:
            self.waiting_bytes -= len(queue.tail)
            queue.write_tail()
            self.queues.pop(queue, None)

    async def _sync(self, queues: Collection[ConsumeQueue]) -> None:
        disk = self.node.disk
        paths = [path for queue in queues for path in queue.unsynced]
        directories = [queue.directory for queue in queues if queue.names_changed]
        for queue in queues:
            queue.unsynced, queue.names_changed = {}, False
        for some in slices(paths, SLICE_SYNCS):
            files = [disk.open(path) for path in some if disk.exists(path)]
            syncs = [file.sync() for file in files]
            for file in files:
                file.close()
            await asyncio.gather(*syncs)
        for some in slices(directories, SLICE_SYNCS):
            await asyncio.gather(*[disk.sync_directory(path) for path in some if disk.exists(path)])


def slices(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """`items` in order, `size` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
