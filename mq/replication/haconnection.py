"""HAConnection: one slave, as its master sees it · core

What always holds:
* A slave's first report says where to begin; from then on the master sends byte after byte, whoever waits.
* A slave that has nothing begins with the master's *last* segment: history is not copied.
* No report is believed that goes beyond what was sent, or was here when this master started: those bytes
  come from another past, and two logs with different pasts must not be joined.
* A slave that needs bytes which are gone is told so by the end of its connection, also in the middle of it:
  a heartbeat would say that it has everything.
* Silence is an answer, too: a slave that says nothing for 20 s is gone, whatever TCP believes.

What the real system does: it sends the same bytes at the same moments. It believes a first report without
looking, and counts it as an acknowledgement; a slave that is ahead is refused only when it reports again and
the master's log is still shorter. If it has grown past the report by then, the two logs differ from there on,
and nobody is told.

What this cannot see: a report has no name and no history. When another slave has been sent the bytes up to
there, or this master has written past it and started again, a slave from another past is believed.

Real: org.apache.rocketmq.store.ha.HAConnection (different: the first report is judged like every other)
"""

from typing import Protocol

from mq.replication.config import HaConfig
from mq.replication.protocol import HAError, encode_push


class MasterLog(Protocol):
    """What is copied. The MessageStore is one."""

    @property
    def min_physical_offset(self) -> int:
        """Where the oldest bytes lie."""

    @property
    def max_physical_offset(self) -> int:
        """Where the bytes end."""

    def read(self, physical_offset: int, size: int) -> bytes:
        """Up to `size` bytes of one segment; empty when there are none."""


class Outgoing:
    """The master's log as its slaves get it. `sent_to`: no slave can rightly have more."""

    def __init__(self, log: MasterLog, segment_bytes: int) -> None:
        self.log = log
        self.segment_bytes = segment_bytes
        self.sent_to = log.max_physical_offset

    def begin_for(self, reported: int) -> int:
        """From where a slave is served that reports so much at first. Raises HAError."""
        if reported == 0:
            end = self.log.max_physical_offset
            return end - end % self.segment_bytes
        self._check_is_here(reported)
        return reported

    def _check_is_here(self, physical_offset: int) -> None:
        if physical_offset < self.log.min_physical_offset:
            raise HAError(
                f"the slave's log ends at {physical_offset}, and what came then is gone: "
                f"the log begins at {self.log.min_physical_offset}"
            )

    def read(self, physical_offset: int, most_bytes: int) -> bytes:
        """The next bytes for a slave; empty when there are none. Raises HAError when they are gone."""
        self._check_is_here(physical_offset)
        data = self.log.read(physical_offset, most_bytes)
        self.sent_to = max(self.sent_to, physical_offset + len(data))
        return data


class HAConnection:
    """One slave: what it has reported, what it is sent next, and until when it may be silent."""

    def __init__(self, outgoing: Outgoing, config: HaConfig, now_ms: float) -> None:
        self.outgoing = outgoing
        self.config = config
        self.ack_offset = -1  # what the slave has; -1: it has not said
        self.next_offset = -1  # what it is sent next
        self.last_read_ms = self.last_write_ms = now_ms

    def reported(self, physical_offset: int, now_ms: float) -> None:
        """The slave says that its log ends here. Raises HAError when it cannot be a copy of ours."""
        self.last_read_ms = now_ms
        if not 0 <= physical_offset <= self.outgoing.sent_to:
            raise HAError(
                f"the slave's log ends at {physical_offset}, and no more than {self.outgoing.sent_to} "
                "was ever here to be copied: it is ahead, and its end comes from another past"
            )
        if self.next_offset < 0:
            self.next_offset = self.outgoing.begin_for(physical_offset)
        self.ack_offset = physical_offset

    def next_push(self, now_ms: float) -> bytes:
        """What is to be sent now: bytes, or a heartbeat after a silence, or nothing. Raises HAError."""
        if self.next_offset < 0:
            return b""  # the slave has the first word
        data = self.outgoing.read(self.next_offset, self.config.ha_transfer_batch_size)
        if not data and now_ms < self.last_write_ms + self.config.ha_send_heartbeat_interval:
            return b""
        self.last_write_ms = now_ms
        begin, self.next_offset = self.next_offset, self.next_offset + len(data)
        return encode_push(begin, data)

    def check(self, now_ms: float) -> None:
        """Raises HAError when the slave has been silent for too long."""
        if now_ms >= self.silent_ms:
            raise HAError(f"silent for {self.config.ha_housekeeping_interval / 1000:g} s")

    @property
    def silent_ms(self) -> float:
        """When it has been silent for too long."""
        return self.last_read_ms + self.config.ha_housekeeping_interval

    @property
    def due_ms(self) -> float:
        """When to look again at the latest: for silence, or to send a heartbeat."""
        if self.next_offset < 0:
            return self.silent_ms
        return min(self.silent_ms, self.last_write_ms + self.config.ha_send_heartbeat_interval)
