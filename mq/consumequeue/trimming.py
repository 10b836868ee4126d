"""Trimmer: what the log has let go of, the queues let go of too, a few at a time · depth

What always holds: when `delete_before` returns, the first slice of queues is done; the others follow with a
turn for the loop between two slices, because each of 50,000 queues may have to be searched for its new
minimum. Until its turn a queue still shows entries of records that are gone: whoever pulls them is told
so and goes on, as between RocketMQ's two cleaning services.

Real: org.apache.rocketmq.store.DefaultMessageStore.CleanConsumeQueueService (equivalent)
"""

from collections.abc import Iterable, Iterator
from itertools import islice

from mq.consumequeue.queue import ConsumeQueue
from mq.runtime.node import Node

SLICE_QUEUES = 64  # searched before the loop gets a turn


class Trimmer:
    """One pass over the queues at a time. A new pass takes the place of one that is under way."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._left: Iterator[ConsumeQueue] = iter(())
        self._physical_offset = 0
        self._is_running = False

    def delete_before(self, queues: Iterable[ConsumeQueue], physical_offset: int) -> None:
        """Raises OSError when a file of the first slice cannot be removed; later ones are complained of."""
        self._left, self._physical_offset = iter(list(queues)), physical_offset
        if self._trim_some() and not self._is_running:
            self._is_running = True
            self.node.spawn(self._trim_the_others(), "trim queues")

    def stop(self) -> None:
        """Leave the rest to the next start."""
        self._left = iter(())

    async def _trim_the_others(self) -> None:
        try:
            while self._trim_some():
                await self.node.sleep_ms(0)
        except OSError as error:
            self.node.journal.complain("queues not trimmed", error=str(error))
        self._is_running = False

    def _trim_some(self) -> bool:
        """Whether it was a whole slice, behind which there may be more."""
        some = list(islice(self._left, SLICE_QUEUES))
        for queue in some:
            queue.delete_before(self._physical_offset)
        return len(some) == SLICE_QUEUES
