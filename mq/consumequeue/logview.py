"""Log: what this floor asks of the log · depth

What always holds: positions are physical offsets. What the log has let go of, or does not have yet, is read
as nothing: an empty answer, None, or -1; never an error.

Real: org.apache.rocketmq.store.MessageStore (simplified: its reading half)
"""

from typing import Protocol

from mq.commitlog.record import MessageExt


class Log(Protocol):
    """The MessageStore is one; a test may bring another."""

    @property
    def min_physical_offset(self) -> int:
        """Where the oldest record begins."""

    @property
    def max_physical_offset(self) -> int:
        """Where the next record will begin."""

    def read(self, physical_offset: int, size: int) -> bytes:
        """Up to `size` bytes."""

    def record_at(self, physical_offset: int, size: int) -> MessageExt | None:
        """The message that lies here."""

    def size_at(self, physical_offset: int) -> int:
        """How long the record is that begins here; 0 when none does."""

    def store_time_at(self, physical_offset: int, size: int) -> int:
        """When it was stored, ms since 1970."""
