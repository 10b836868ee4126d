"""OpenFiles: a bounded set of descriptors to read from · depth

What always holds: at most `limit` files are open at any moment; the one that was read longest ago is closed
before a new one is opened. 50,000 queues would need as many descriptors, and a process has a few thousand.

Real: nothing (RocketMQ maps every file and leaves the choice to the system)
"""

from collections import OrderedDict

from mq.runtime.disk import Disk, File

MAX_OPEN_FILES = 512


class OpenFiles:
    """Reads by path. A file that is removed must be forgotten first."""

    def __init__(self, disk: Disk, limit: int = MAX_OPEN_FILES) -> None:
        self.disk = disk
        self.limit = limit
        self._files: OrderedDict[str, File] = OrderedDict()

    def read(self, path: str, position: int, length: int) -> bytes:
        """Up to `length` bytes; empty when there is no such file."""
        file = self._files.get(path)
        if file is None:
            while len(self._files) >= self.limit:
                self._files.popitem(last=False)[1].close()
            try:
                file = self._files[path] = self.disk.open(path)
            except FileNotFoundError:
                return b""
        else:
            self._files.move_to_end(path)
        return file.read_at(position, length)

    def forget(self, path: str) -> None:
        """Close a file that is about to go."""
        file = self._files.pop(path, None)
        if file is not None:
            file.close()

    def close(self) -> None:
        """Close them all."""
        for path in list(self._files):
            self.forget(path)
