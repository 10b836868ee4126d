"""ConsumerOffsetManager: how far each group has come in each queue · depth

What always holds: the broker keeps what consumers tell it, also when it is less than before: a consumer may
start over. A number below 0 means "nothing known". What was told since the last write (each 5 s, and at the
end) is lost with the process, and those messages are consumed again.

Reads what 4.9.8 writes, whose queue ids stand without quotes (`{0:5}`); writes them with quotes, which every
JSON reader can read.

Real: org.apache.rocketmq.broker.offset.ConsumerOffsetManager (equivalent)
"""

from collections.abc import Iterator

from mq.routing.bodies import BodyError, as_object, number_of, pretty_json, read_object
from mq.runtime.config import ConfigManager
from mq.runtime.node import Node

TOPIC_GROUP = "@"  # between topic and group in a key of the table
NOTHING_KNOWN = -1


class ConsumerOffsetManager(ConfigManager):
    """The table `topic@group -> {queue id: next queue offset}`, in memory and on disk."""

    path = "config/consumerOffset.json"
    sync_code = 43

    def __init__(self, node: Node, period_ms: int = 5_000) -> None:
        super().__init__(node)
        self.period_ms = period_ms
        self.table: dict[str, dict[int, int]] = {}

    def commit(self, group: str, topic: str, queue_id: int, queue_offset: int) -> None:
        """The group goes on at `queue_offset` next time."""
        self.table.setdefault(topic + TOPIC_GROUP + group, {})[queue_id] = queue_offset

    def query(self, group: str, topic: str, queue_id: int) -> int:
        """Where the group goes on; -1 when it never said."""
        return self.table.get(topic + TOPIC_GROUP + group, {}).get(queue_id, NOTHING_KNOWN)

    def groups_of(self, topic: str) -> Iterator[str]:
        """The groups that ever committed for a topic."""
        for key in self.table:
            of_topic, _, group = key.partition(TOPIC_GROUP)
            if of_topic == topic:
                yield group

    def encode(self) -> str:
        return pretty_json({"offsetTable": self.table})

    def decode(self, text: str) -> None:
        told = as_object(read_object(text, self.path).get("offsetTable"), "offsetTable")
        table: dict[str, dict[int, int]] = {}
        for key, queues in told.items():
            offsets = as_object(queues, key)
            table[key] = {_queue_id(queue_id): number_of(offsets, queue_id) for queue_id in offsets}
        self.table = table


def _queue_id(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BodyError(f"queue id {text[:20]!r} is not a number") from None
