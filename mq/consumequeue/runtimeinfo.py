"""RuntimeInfo: what the answer to code 28 says of store and queues · depth

What always holds: every number was looked up or counted. Messages are counted by what the queues hold, every
10 s: a rate over a window that has not passed yet is left blank, as the real broker leaves it. How much is
pulled is counted by nobody here, so those rates stay blank.

Real: org.apache.rocketmq.store.StoreStatsService (simplified: it counts each put)
"""

from collections import deque

from mq.commitlog.store import MessageStore
from mq.consumequeue.store import QueueStore
from mq.routing.periodic import Periodic
from mq.runtime.node import Node

SAMPLE_MS = 10_000
WINDOWS_MS = (10_000, 60_000, 600_000)  # RocketMQ shows three rates: of 10 s, a minute and ten minutes
NOT_COUNTED = "  "  # three blank rates


class RuntimeInfo:
    """A service that samples, and a contributor to `broker.runtime_info`."""

    name = "runtime info"

    def __init__(self, node: Node, store: MessageStore, queues: QueueStore) -> None:
        self.node = node
        self.store = store
        self.queues = queues
        self.at_start = 0
        self.samples: deque[int] = deque(maxlen=WINDOWS_MS[-1] // SAMPLE_MS + 1)
        self._periodic = Periodic(node, "count messages", SAMPLE_MS, SAMPLE_MS, self.sample)

    async def start(self) -> None:
        """Begin to count."""
        self.at_start = self.messages()
        self.samples.append(self.at_start)
        self._periodic.start()

    async def stop(self) -> None:
        """Count no more."""
        self._periodic.stop()

    def sample(self) -> None:
        """Note how many there are now."""
        self.samples.append(self.messages())

    def messages(self) -> int:
        """How many messages have been given a place in a queue, ever."""
        return sum(self.queues.queue_ends().values())

    def contribute(self, table: dict[str, str]) -> None:
        """Add what is known."""
        store, usage = self.store, self.node.disk.usage()
        low, high = store.min_physical_offset, store.max_physical_offset
        table |= {
            "commitLogDirCapacity": f"Total : {in_words(usage.total_bytes)}, "
            f"Free : {in_words(usage.total_bytes - usage.used_bytes)}.",
            "commitLogDiskRatio": str(usage.ratio),
            "commitLogMaxOffset": str(high),
            "commitLogMinOffset": str(low),
            "consumeQueueDiskRatio": str(usage.ratio),
            "dispatchBehindBytes": str(max(high - store.reput.dispatched_to, 0)),
            "earliestMessageTimeStamp": str(store.store_time_at(low, store.size_at(low))),
            "getTransferedTps": NOT_COUNTED,
            "putMessageTimesTotal": str(max(self.messages() - self.at_start, 0)),
            "putTps": " ".join(self._rate(window_ms) for window_ms in WINDOWS_MS),
            "remainHowManyDataToFlush": in_words(high - store.log.synced_to),
        }

    def _rate(self, window_ms: int) -> str:
        back = window_ms // SAMPLE_MS
        if len(self.samples) <= back:
            return ""
        return str(max(self.samples[-1] - self.samples[-1 - back], 0) * 1000 / window_ms)


def in_words(length_bytes: int) -> str:
    """`1536` -> `1.5 KiB`, as RocketMQ writes sizes."""
    if length_bytes < 1024:
        return f"{length_bytes} B"
    power = min((length_bytes.bit_length() - 1) // 10, 6)
    return f"{length_bytes / 1024**power:.1f} {'KMGTPE'[power - 1]}iB"
