"""The obvious repair: keep the queues on disk, and note beside them how far they go.

The toy has its queues in memory, so after a restart it must walk the whole log. This follower writes each
queue to a file, and after each batch it notes the position in the log that the queues have reached. A
restart goes on from the note.

What it forgets: two writes are not one write, and the power can go between them.
"""

from zlib import crc32

from chapters.toy import QUEUES, Broker

BATCH = 100
POSITION_BYTES = 8


class PowerCut(Exception):
    """The machine is off. What was written before is on the disk."""


class Disk:
    """Files by name. With `writes_left` set, the power goes in place of the write after those."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.writes_left: int | None = None

    def write(self, name: str, data: bytes) -> None:
        """Replace a file, or raise PowerCut."""
        if self.writes_left is not None:
            if self.writes_left == 0:
                raise PowerCut
            self.writes_left -= 1
        self.files[name] = data


class Follower:
    """Follows a broker's log into queue files."""

    def __init__(self, broker: Broker, disk: Disk) -> None:
        self.broker, self.disk = broker, disk
        self.position = int.from_bytes(disk.files.get("reached", b""), "big")

    def follow(self) -> None:
        """Enter every record behind the note in its queue's file."""
        while self.position < len(self.broker.log):
            news: dict[str, bytes] = {}
            for _ in range(BATCH):
                if self.position < len(self.broker.log):
                    self._enter(news)
            for name in sorted(news):
                self.disk.write(name, self.disk.files.get(name, b"") + news[name])
            self.disk.write("reached", self.position.to_bytes(POSITION_BYTES, "big"))

    def _enter(self, news: dict[str, bytes]) -> None:
        key, _ = self.broker.read(self.position)
        name = f"queue-{crc32(key.encode()) % QUEUES}"
        news[name] = news.get(name, b"") + self.position.to_bytes(POSITION_BYTES, "big")
        self.position += 8 + int.from_bytes(self.broker.log[self.position : self.position + 4], "big")


def positions(disk: Disk, queue_id: int) -> list[int]:
    """What a queue's file says: the position of each of its messages."""
    data = disk.files.get(f"queue-{queue_id}", b"")
    return [
        int.from_bytes(data[at : at + POSITION_BYTES], "big") for at in range(0, len(data), POSITION_BYTES)
    ]
