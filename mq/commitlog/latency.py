"""Which brokers are slow or broken, as a producer remembers it for a while · depth

What always holds: a broker is avoided for a time that grows with how long it took to answer, and for the
longest time of all when it failed. While every broker is avoided, the least bad half of them takes turns:
avoiding is a wish, sending is the duty. Off by default (`sendLatencyFaultEnable`): then a retry merely avoids
the broker that has just failed.

A plain object: it is told the time, and knows nothing of queues or connections.

Real: org.apache.rocketmq.client.latency.MQFaultStrategy, LatencyFaultToleranceImpl (equivalent)
"""

from bisect import bisect_right
from dataclasses import dataclass

LATENCY_MAX_MS = (50, 100, 550, 1_000, 2_000, 3_000, 15_000)  # RocketMQ's latencyMax
NOT_AVAILABLE_MS = (0, 0, 30_000, 60_000, 120_000, 180_000, 600_000)  # and its notAvailableDuration
FAILED_COUNTS_AS_MS = 30_000  # the latency of a broker that did not answer, or answered with a failure


@dataclass(frozen=True, slots=True)
class FaultItem:
    """What is remembered of one broker: its last latency, and from when on it may be asked again."""

    latency_ms: float
    available_from_ms: float


class LatencyTable:
    """Brokers by name. Times are those of one clock that never jumps."""

    def __init__(self) -> None:
        self.items: dict[str, FaultItem] = {}
        self._turn = 0

    def note(self, broker_name: str, latency_ms: float, has_failed: bool, now_ms: float) -> None:
        """A try has ended, after this time."""
        avoid_ms = avoid_for_ms(FAILED_COUNTS_AS_MS if has_failed else latency_ms)
        self.items[broker_name] = FaultItem(latency_ms, now_ms + avoid_ms)

    def is_available(self, broker_name: str, now_ms: float) -> bool:
        """Whether nothing speaks against this broker now."""
        item = self.items.get(broker_name)
        return item is None or now_ms >= item.available_from_ms

    def least_bad(self, now_ms: float) -> str | None:
        """One of the better half of those that are remembered, in turn; None when none is."""

        def badness(name: str) -> tuple[bool, float, float]:
            item = self.items[name]
            return now_ms < item.available_from_ms, item.latency_ms, item.available_from_ms

        names = sorted(self.items, key=badness)
        if not names:
            return None
        self._turn += 1
        return names[self._turn % max(len(names) // 2, 1)]

    def forget(self, broker_name: str) -> None:
        """It has no queue to send to any more."""
        self.items.pop(broker_name, None)


def avoid_for_ms(latency_ms: float) -> int:
    """How long a broker is avoided that took so long."""
    step = bisect_right(LATENCY_MAX_MS, latency_ms)
    return NOT_AVAILABLE_MS[step - 1] if step else 0
