"""GroupTransfer: sends that wait until a slave has reported enough · core

What always holds: a send waits for *one* slave to report an end at or behind the send's own; whichever is
first counts. What was reported once stays reported, also when that slave has gone. A send that has waited
3 s is told FLUSH_SLAVE_TIMEOUT: its message is in the master's log, and may yet reach a slave.

Nobody waits when there is nobody to wait for: without a slave, or when the farthest is 256 MiB behind, the
answer is SLAVE_NOT_AVAILABLE, at once, and again the message stays where it is.

Real: org.apache.rocketmq.store.ha.HAService.GroupTransferService (equivalent, without polling)
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from mq.commitlog.put import PutStatus
from mq.replication.config import HaConfig


@dataclass(slots=True)
class Waiter:
    """All sends of one write to the log: they wait for the same end, and share the answer."""

    end: int
    deadline_ms: float
    told: list[Callable[[PutStatus], None]] = field(default_factory=list)

    def tell(self, status: PutStatus) -> None:
        """Answer everybody."""
        for tell in self.told:
            tell(status)


class GroupTransfer:
    """Who waits for which end of the log. Ends and deadlines grow: the first to be done is in front."""

    def __init__(self, config: HaConfig) -> None:
        self.config = config
        self.slaves = 0  # connections that stand
        self.acked_to = 0  # the farthest end that any slave has reported: push2SlaveMaxOffset
        self._waiters: deque[Waiter] = deque()

    def is_slave_ok(self, end: int) -> bool:
        """Whether waiting for this end makes sense."""
        return self.slaves > 0 and end - self.acked_to < self.config.ha_slave_fallbehind_max

    def wait(self, end: int, now_ms: float) -> Waiter:
        """Whoever wants to hear of this end adds itself to `told`."""
        if not self._waiters or self._waiters[-1].end != end:
            self._waiters.append(Waiter(end, now_ms + self.config.slave_timeout))
        return self._waiters[-1]

    def acked(self, end: int) -> None:
        """A slave has reported this end."""
        self.acked_to = max(self.acked_to, end)
        while self._waiters and self._waiters[0].end <= self.acked_to:
            self._waiters.popleft().tell(PutStatus.PUT_OK)

    def expire(self, now_ms: float) -> None:
        """Whoever has waited long enough is told so."""
        while self._waiters and self._waiters[0].deadline_ms <= now_ms:
            self._waiters.popleft().tell(PutStatus.FLUSH_SLAVE_TIMEOUT)

    @property
    def due_ms(self) -> float | None:
        """When the next one has waited long enough; None when nobody waits."""
        return self._waiters[0].deadline_ms if self._waiters else None
