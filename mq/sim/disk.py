"""SimDisk: one life's door to its machine's platter · core

What always holds: every Disk and File call has a number, counted over all lives of the machine, and the
machine can be made to die just before or just after any of them. A life that is over gets Crashed.
"""

import asyncio
import errno
from collections.abc import Callable
from typing import Any

from mq.runtime.disk import DiskUsage, File, FileStat, Lock
from mq.sim.inode import Inode
from mq.sim.life import Crashed, Life
from mq.sim.platter import Change, Directory, Platter, os_error

Listing = list[str]  # inside SimDisk, `list` is its method


class SimDisk:
    """The platter as one life sees it."""

    def __init__(self, platter: Platter, life: Life) -> None:
        self.platter = platter
        self._life = life

    def call(self, changes: bool, what: str, work: Callable[[], Any]) -> Any:
        """One numbered Disk call: check the door, perhaps die before, do `work`, perhaps die after."""
        platter = self.platter
        self._life.check()
        platter.calls += 1
        if changes:
            platter.changing_calls.append(platter.calls)
        plan = platter.plan
        if plan is None or plan.call != platter.calls:
            return work()
        if plan.when == "after":
            work()
        plan.what = what
        plan.die()
        raise Crashed(f"{plan.when} {what}")

    def open(self, path: str, create: bool = False) -> File:
        file: File = self.call(create, f"open {path}", lambda: self._open(path, create))
        return file

    def _open(self, path: str, create: bool) -> File:
        directory, name = self.platter.parent(path, create)
        entry = directory.entries.get(name)
        if isinstance(entry, Directory):
            raise os_error(errno.EISDIR, path)
        if entry is None and not create:
            raise os_error(errno.ENOENT, path)
        if entry is None:
            entry = Inode(self.platter.wall_ms())
            self.platter.names.change((directory, name, entry))
        return SimFile(self, path, entry)

    def exists(self, path: str) -> bool:
        found: bool = self.call(False, f"exists {path}", lambda: self.platter.find(path) is not None)
        return found

    def list(self, directory: str) -> list[str]:
        names: Listing = self.call(False, f"list {directory}", lambda: self._list(directory))
        return names

    def _list(self, directory: str) -> Listing:
        entry = self.platter.find(directory)
        if isinstance(entry, Inode):
            raise os_error(errno.ENOTDIR, directory)
        return sorted(entry.entries) if entry is not None else []

    def stat(self, path: str) -> FileStat:
        found: FileStat = self.call(False, f"stat {path}", lambda: self._stat(path))
        return found

    def _stat(self, path: str) -> FileStat:
        entry = self.platter.find(path)
        if entry is None:
            raise os_error(errno.ENOENT, path)
        return FileStat(0, 0) if isinstance(entry, Directory) else FileStat(entry.length, entry.modified_ms)

    def replace(self, source: str, target: str) -> None:
        self.call(True, f"replace {source} -> {target}", lambda: self._replace(source, target))

    def _replace(self, source: str, target: str) -> None:
        from_directory, from_name = self.platter.parent(source)
        to_directory, to_name = self.platter.parent(target)
        moved, taken = from_directory.entries.get(from_name), to_directory.entries.get(to_name)
        if moved is None:
            raise os_error(errno.ENOENT, source)
        if moved is taken:
            return
        if isinstance(taken, Directory) and not isinstance(moved, Directory):
            raise os_error(errno.EISDIR, target)
        if isinstance(moved, Directory):
            if isinstance(taken, Inode):
                raise os_error(errno.ENOTDIR, target)
            if taken is not None and taken.entries:
                raise os_error(errno.ENOTEMPTY, target)
            moved.parent = to_directory
        changes: tuple[Change, ...] = ((from_directory, from_name, None), (to_directory, to_name, moved))
        self.platter.names.change(*changes)

    def remove(self, path: str) -> None:
        self.call(True, f"remove {path}", lambda: self._remove(path))

    def _remove(self, path: str) -> None:
        directory, name = self.platter.parent(path)
        entry = directory.entries.get(name)
        if entry is None:
            raise os_error(errno.ENOENT, path)
        if isinstance(entry, Directory) and entry.entries:
            raise os_error(errno.ENOTEMPTY, path)
        self.platter.names.change((directory, name, None))

    def sync_directory(self, directory: str) -> "asyncio.Future[None]":
        what = f"sync_directory {directory or '/'}"
        future: asyncio.Future[None] = self.call(True, what, lambda: self._sync_directory(directory))
        return future

    def _sync_directory(self, directory: str) -> "asyncio.Future[None]":
        entry, names = self.platter.find(directory), self.platter.names
        if not isinstance(entry, Directory):
            return self.failed(errno.ENOENT if entry is None else errno.ENOTDIR, directory)
        covered = list(names.pending)
        return self.platter.queue_sync(lambda: names.make_safe(entry, covered), directory)

    def failed(self, code: int, path: str) -> "asyncio.Future[None]":
        """A sync that ends at once with an error."""
        future: asyncio.Future[None] = self.platter.loop.create_future()
        future.set_exception(os_error(code, path))
        return future

    def usage(self) -> DiskUsage:
        def work() -> DiskUsage:
            return DiskUsage(self.platter.total_bytes, self.platter.used_bytes())

        found: DiskUsage = self.call(False, "usage", work)
        return found

    def lock(self, path: str) -> Lock:
        lock: Lock = self.call(True, f"lock {path}", lambda: self._lock(path))
        return lock

    def _lock(self, path: str) -> Lock:
        file, locks = self._open(path, create=True), self.platter.locks
        assert isinstance(file, SimFile)
        holder = locks.get(file.inode)
        if holder is not None and holder[0].alive:
            raise os_error(errno.EAGAIN, path)  # BlockingIOError
        lock = SimLock(self.platter, file.inode)
        locks[file.inode] = (self._life, lock)
        return lock


class SimLock:
    """Held until released, or until the life that took it is over."""

    def __init__(self, platter: Platter, inode: Inode) -> None:
        self._platter = platter
        self._inode = inode

    def release(self) -> None:
        holder = self._platter.locks.get(self._inode)
        if holder is not None and holder[1] is self:
            del self._platter.locks[self._inode]


class SimFile:
    """An open file of one life."""

    def __init__(self, disk: SimDisk, path: str, inode: Inode) -> None:
        self.path = path
        self.inode = inode
        self._disk = disk
        self._open = True

    def _check(self, position: int = 0) -> None:
        if not self._open:
            raise os_error(errno.EBADF, self.path)
        if position < 0:
            raise os_error(errno.EINVAL, self.path)

    def read_at(self, position: int, length: int) -> bytes:
        def work() -> bytes:
            self._check(position)
            return self.inode.read(position, length)

        data: bytes = self._disk.call(False, f"read_at {self.path} [{position}:{position + length}]", work)
        return data

    def write_at(self, position: int, data: bytes | bytearray | memoryview) -> None:
        def work() -> None:
            self._check(position)
            self.inode.write(position, bytes(data), self._disk.platter.wall_ms())

        self._disk.call(True, f"write_at {self.path} [{position}:{position + len(data)}]", work)

    def set_length(self, length_bytes: int) -> None:
        def work() -> None:
            self._check(length_bytes)
            self.inode.set_length(length_bytes, self._disk.platter.wall_ms())

        self._disk.call(True, f"set_length {self.path} {length_bytes}", work)

    def length(self) -> int:
        def work() -> int:
            self._check()
            return self.inode.length

        found: int = self._disk.call(False, f"length {self.path}", work)
        return found

    def sync(self) -> "asyncio.Future[None]":
        def work() -> "asyncio.Future[None]":
            if not self._open:
                return self._disk.failed(errno.EBADF, self.path)
            covered = self.inode.snapshot()
            return self._disk.platter.queue_sync(lambda: self.inode.make_safe(covered), self.path)

        future: asyncio.Future[None] = self._disk.call(True, f"sync {self.path}", work)
        return future

    def give_up(self) -> None:
        """What a failed sync leaves behind: see `Inode.give_up`. Used by the failing disk."""
        self.inode.give_up()

    def close(self) -> None:
        def work() -> None:
            self._open = False

        self._disk.call(False, f"close {self.path}", work)
