"""HAClient: the slave's end: report, take bytes, report · core

What always holds:
* A slave's log only ever grows by the bytes that follow its end. A push for any other place ends the
  connection: the next one begins with a report, and the report says where to go on.
* A report says what is in the log, not what is synced.
* A master that is silent for 20 s is gone.

What the real system does: it waits 5 s before its first report. Its housekeeping counts from what it *wrote*
last, which it does each 5 s: so it never notices that its master has become silent.

Real: org.apache.rocketmq.store.ha.HAService.HAClient (different: the first report, and what silence means)
"""

from typing import Protocol

from mq.replication.config import HaConfig
from mq.replication.protocol import HAError, PushReader, encode_report


class Copy(Protocol):
    """The log that grows. The MessageStore is one."""

    @property
    def max_physical_offset(self) -> int:
        """Where the bytes end."""

    def append_raw(self, physical_offset: int, data: bytes) -> None:
        """Take bytes of the master's log. Raises StoreError, OSError."""


class HAClient:
    """One connection to the master. What it returns is to be sent."""

    def __init__(self, copy: Copy, config: HaConfig, now_ms: float) -> None:
        self.copy = copy
        self.config = config
        self.has_followed = False  # whether the master has said anything that fits
        self.last_read_ms = self.last_write_ms = now_ms
        self._reported = -1
        self._pushes = PushReader()

    def received(self, data: bytes, now_ms: float) -> bytes:
        """Take what the master sent. Raises HAError when it does not continue our log, or OSError."""
        self.last_read_ms = now_ms
        for physical_offset, body in self._pushes.feed(data):
            end = self.copy.max_physical_offset
            if end not in (0, physical_offset):
                raise HAError(f"the master pushed bytes for {physical_offset}; our log ends at {end}")
            if body:
                self.copy.append_raw(physical_offset, body)
            self.has_followed = True
        return self.report(now_ms)

    def report(self, now_ms: float) -> bytes:
        """A report when the log has grown, or 5 s after the last one; else nothing."""
        end = self.copy.max_physical_offset
        if end <= self._reported and now_ms < self.last_write_ms + self.config.ha_send_heartbeat_interval:
            return b""
        self._reported, self.last_write_ms = end, now_ms
        return encode_report(end)

    def check(self, now_ms: float) -> None:
        """Raises HAError when the master has been silent for too long."""
        if now_ms >= self.last_read_ms + self.config.ha_housekeeping_interval:
            raise HAError(f"silent for {self.config.ha_housekeeping_interval / 1000:g} s")

    @property
    def due_ms(self) -> float:
        """When to look again at the latest: for silence, or to report."""
        silence_ms = self.last_read_ms + self.config.ha_housekeeping_interval
        return min(silence_ms, self.last_write_ms + self.config.ha_send_heartbeat_interval)
