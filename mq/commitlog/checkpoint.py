"""The checkpoint: up to when everything is safe on disk, in three times · depth

What always holds: each time is the store time of a message; that message and all before it are durable in
the log, in the queues, in the index. It is written only after the sync that makes it true, so recovery may
begin there. 4,096 bytes, the first 24 of them used.

Real: org.apache.rocketmq.store.StoreCheckpoint (equivalent)
"""

import struct

from mq.runtime.config import read_whole
from mq.runtime.disk import Disk

CHECKPOINT_BYTES = 4096
SAFETY_MS = 3000  # RocketMQ steps back so far from the earliest of the three
_TIMES = struct.Struct(">qqq")


class Checkpoint:
    """The file `checkpoint`. `times` holds ms since 1970 under "physic", "logics" and "index"."""

    path = "checkpoint"

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.times = {"physic": 0, "logics": 0, "index": 0}

    def load(self) -> None:
        """Read it; a missing or short file means that nothing is known to be safe."""
        try:
            data = read_whole(self.disk, self.path)
        except FileNotFoundError:
            return
        if len(data) >= _TIMES.size:
            self.times = dict(zip(self.times, _TIMES.unpack_from(data), strict=True))

    def safe_timestamp_ms(self, index_counts: bool = True) -> int:
        """Records stored up to then need no second look (RocketMQ's getMinTimestampIndex)."""
        times = [self.times["physic"], self.times["logics"]]
        earliest = min(*times, self.times["index"]) if index_counts else min(times)
        return max(earliest - SAFETY_MS, 0)

    async def write(self) -> None:
        """Make it durable. Raises OSError."""
        is_new = not self.disk.exists(self.path)
        file = self.disk.open(self.path, create=True)
        if is_new:
            file.set_length(CHECKPOINT_BYTES)
        file.write_at(0, _TIMES.pack(*self.times.values()))
        await file.sync()
        file.close()
        if is_new:
            await self.disk.sync_directory("")
