"""QueueTable: all queues by topic and id, and once more by topic and then by id · depth

What always holds: both ways lead to the same queue. `dispatch` takes the second: the messages of a topic come
together more often than those of a queue, and with 50,000 queues what it costs to find one is mostly memory
that is not in the processor's cache.

Real: org.apache.rocketmq.store.DefaultMessageStore.consumeQueueTable (equivalent)
"""

from typing import Any

from mq.consumequeue.queue import ConsumeQueue

Key = tuple[str, int]


class QueueTable(dict[Key, ConsumeQueue]):
    """Filled and emptied queue by queue: `table[key] = queue`, `del table[key]`, `table.pop(key)`."""

    def __init__(self) -> None:
        super().__init__()
        self.by_topic: dict[str, dict[int, ConsumeQueue]] = {}

    def __setitem__(self, key: Key, queue: ConsumeQueue) -> None:
        super().__setitem__(key, queue)
        self.by_topic.setdefault(key[0], {})[key[1]] = queue

    def __delitem__(self, key: Key) -> None:
        super().__delitem__(key)
        topic, queue_id = key
        del self.by_topic[topic][queue_id]
        if not self.by_topic[topic]:
            del self.by_topic[topic]

    def pop(self, key: Key, *default: Any) -> Any:
        """Take a queue out."""
        if key not in self:
            return super().pop(key, *default)
        queue = self[key]
        del self[key]
        return queue
