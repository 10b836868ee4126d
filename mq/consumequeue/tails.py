"""Tails: what queues keep in memory, and how it becomes durable · depth

What always holds: a queue is written when it has two dirty pages, once each second, or when the minute is
over, or when all tails together grow too large; never once for each message, because 50,000 queues would be
50,000 writes. No queue file is held open for writing. Only a thorough flush syncs, and only after it
everything handed over before is durable.

50,000 queues are also 50,000 syncs. The loop gets a turn after each slice of writes, and the disk's one sync
worker never has more than a slice of ours in front of it: a group commit waits for a few, not for all.

Real: org.apache.rocketmq.store.DefaultMessageStore.FlushConsumeQueueService (equivalent)
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from mq.consumequeue.queue import ConsumeQueue
from mq.runtime.disk import PAGE_BYTES
from mq.runtime.node import Node

T = TypeVar("T")

LEAST_PAGES = 2  # RocketMQ's flushConsumeQueueLeastPages
MAX_WAITING_BYTES = 64 << 20  # ours: what all tails may hold together, a bound on memory
MAX_CLOSING_MS = 60_000  # ours: how long the last flush may sync; after that the log is asked again instead
SLICE_QUEUES = 256  # queues written before the loop gets a turn
SLICE_SYNCS = 8  # syncs asked for at once: a group commit waits behind them


class Tails:
    """The queues that have a tail, in the order in which they got it."""

    def __init__(self, node: Node, least_pages: int = LEAST_PAGES) -> None:
        self.node = node
        self.least_bytes = least_pages * PAGE_BYTES
        self.queues: dict[ConsumeQueue, None] = {}
        self.waiting_bytes = 0  # what all tails hold
        self._sync_failed = False
        self._closing_ends_ms: float | None = None

    def close_soon(self) -> None:
        """The next flush is the last: who stops a broker does not wait for 50,000 syncs of a slow disk."""
        self._closing_ends_ms = self.node.monotonic_ms() + MAX_CLOSING_MS

    def grew(self, bytes_more: int) -> None:
        """Entries came. Writes the tails that wait longest while all together are too much."""
        self.waiting_bytes += bytes_more
        while self.waiting_bytes > MAX_WAITING_BYTES and self.queues:
            try:
                self._write(list(islice(self.queues, SLICE_QUEUES)))
            except OSError as error:
                self.node.journal.complain("queues not written", waiting=self.waiting_bytes, error=str(error))
                return

    def recount(self) -> None:
        """Queues lost entries that waited, or went themselves."""
        self.waiting_bytes = sum(len(queue.tail) for queue in self.queues)

    async def flush(self, thorough: bool, queues: Iterable[ConsumeQueue]) -> bool:
        """Write what is worth it; `thorough`: everything, and sync all of `queues`.

        Returns whether everything is durable that there was when it began: not when the last flush took too
        long. Raises OSError; after a sync that failed it never returns True again, because what the disk
        holds is in doubt.
        """
        least, all_queues = 1 if thorough else self.least_bytes, list(queues) if thorough else []
        for some in slices(list(self.queues), SLICE_QUEUES):
            self._write([queue for queue in some if len(queue.tail) >= least])
            await self.node.sleep_ms(0)
        if not thorough or self._sync_failed:
            return False
        self.recount()
        try:
            for some in slices(all_queues, SLICE_SYNCS):
                await self._sync(some)
                await self.node.sleep_ms(0)
                if self._closing_ends_ms is not None and self.node.monotonic_ms() > self._closing_ends_ms:
                    return False
        except OSError:
            self._sync_failed = True
            raise
        return True

    def _write(self, queues: Iterable[ConsumeQueue]) -> None:
        """Raises OSError; what is left then waits on, behind all others."""
        for queue in queues:
            waited = len(queue.tail)
            self.queues.pop(queue, None)
            try:
                queue.write_tail()
            except OSError:
                self.queues[queue] = None
                raise
            finally:
                self.waiting_bytes -= waited - len(queue.tail)

    async def _sync(self, queues: Sequence[ConsumeQueue]) -> None:
        """Files first: with them the disk has most of their names already."""
        disk = self.node.disk
        paths = [path for queue in queues for path in queue.unsynced_paths()]
        directories = [queue.directory for queue in queues if queue.names_changed]
        for queue in queues:
            queue.unsynced_from, queue.names_changed = None, False
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
