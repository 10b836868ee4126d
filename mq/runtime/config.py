"""ConfigManager: a small table that outlives the process, as one JSON file · depth

What always holds: at every moment, and after any death, the disk holds the old table or the new one, whole:
the new text is written beside the old and synced, then the old becomes `.bak`, then the new takes its name.
Loading takes the main file, and `.bak` when that is missing, empty or broken.

Real: org.apache.rocketmq.common.ConfigManager (different: 4.9.8 writes without a sync)
"""

import asyncio
from abc import ABC, abstractmethod

from mq.runtime.disk import Disk
from mq.runtime.errors import StoreError
from mq.runtime.node import Node

MAX_CONFIG_BYTES = 64 << 20  # no table of ours comes near; a bound on what a broken file can make us read


def read_whole(disk: Disk, path: str, max_bytes: int = MAX_CONFIG_BYTES) -> bytes:
    """A small file's bytes. Raises FileNotFoundError, or StoreError when it is larger than `max_bytes`."""
    file = disk.open(path)
    length = file.length()
    if length > max_bytes:
        file.close()
        raise StoreError(f"{path} has {length} bytes; at most {max_bytes} were expected")
    data = file.read_at(0, length)
    file.close()
    return data


class ConfigManager(ABC):
    """One table. A floor gives `path`, `encode` and `decode`; `persist` asks for it to be written.

    `period_ms` is how often the broker persists it unasked (None: only on change and at the end);
    `sync_code` is the request code by which a slave copies it (None: it does not).
    """

    path: str
    period_ms: int | None = None
    sync_code: int | None = None

    def __init__(self, node: Node) -> None:
        self.node = node
        self._dirty = False
        self.writing: asyncio.Task[None] | None = None
        """The write that is under way, for whoever must not answer before the table is on disk."""
        self._written: str | None = None  # what the disk holds, once this process has written it

    @abstractmethod
    def encode(self) -> str:
        """The table as text."""

    @abstractmethod
    def decode(self, text: str) -> None:
        """Take the table from text. Raises ValueError, KeyError or TypeError when it is not one."""

    def load(self) -> bool:
        """Read the table back. False when there is none yet.

        Raises StoreError when there is one and neither file can be read: to go on with an empty table would
        overwrite the broken one, and what it said would be gone for good.
        """
        broken = []
        for path in (self.path, self.path + ".bak"):
            try:
                text = read_whole(self.node.disk, path).decode()
                if text.strip():
                    self.decode(text)
                    return True
            except FileNotFoundError:
                continue
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                what = f"{type(error).__name__}: {error}"
                self.node.journal.complain("config unreadable", path=path, error=what)
            broken.append(path)
        if broken:
            raise StoreError(f"{' and '.join(broken)} cannot be read; repair or remove what is broken")
        return False

    def persist(self) -> "asyncio.Task[None]":
        """Have the table written; calls while a write runs are answered by one more write at its end."""
        self._dirty = True
        if self.writing is None:
            self.writing = self.node.spawn(self._write(), f"persist {self.path}")
        return self.writing

    async def _write(self) -> None:
        try:
            await self._write_while_dirty()
        finally:
            self.writing = None

    async def _write_while_dirty(self) -> None:
        disk = self.node.disk
        while self._dirty:
            self._dirty = False
            text = self.encode()
            if text == self._written:
                continue  # a period has passed and nothing has changed: two syncs saved
            try:
                await self._write_beside(text)
                if disk.exists(self.path):
                    disk.replace(self.path, self.path + ".bak")
                disk.replace(self.path + ".tmp", self.path)
                await disk.sync_directory(self.path.rpartition("/")[0])
                self._written = text
            except OSError as error:
                self.node.journal.complain("config not written", path=self.path, error=str(error))
                return

    async def _write_beside(self, text: str) -> None:
        file = self.node.disk.open(self.path + ".tmp", create=True)
        file.set_length(0)
        file.write_at(0, text.encode())
        await file.sync()
        file.close()
