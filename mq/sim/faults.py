"""Disks that misbehave: slow, full, failing, read-only · core

What always holds: a fault wraps any Disk, real or simulated, and faults wrap each other. What it does not
spoil it passes on unchanged. Errors carry the real world's errno.

    sim.wrap_disk("broker", lambda node, disk: FailingDisk(node, disk, "sync", nth=3))
"""

import asyncio
import errno
import os
from collections.abc import Callable

from mq.runtime.disk import Disk, DiskUsage, File, FileStat, Lock
from mq.runtime.node import Node

Bytes = bytes | bytearray | memoryview
StartSync = Callable[[], "asyncio.Future[None]"]


class DiskFault:
    """Passes every call on. A fault overrides one of the three hooks below."""

    def __init__(self, node: Node, inner: Disk) -> None:
        self.node = node
        self.inner = inner

    # -- hooks -----------------------------------------------------------------------------------------

    def before(self, kind: str, path: str) -> None:
        """Called before each call that is not a write or a sync; may raise."""

    def write(self, file: File, position: int, data: Bytes) -> None:
        """Do a write."""
        file.write_at(position, data)

    def sync(self, start: StartSync, kind: str, file: File | None) -> "asyncio.Future[None]":
        """Do a sync of a file, or of a directory (`file` is None)."""
        return start()

    # -- the Disk --------------------------------------------------------------------------------------

    def open(self, path: str, create: bool = False) -> File:
        self.before("create" if create and not self.inner.exists(path) else "open", path)
        return FaultyFile(self, self.inner.open(path, create))

    def exists(self, path: str) -> bool:
        self.before("exists", path)
        return self.inner.exists(path)

    def stat(self, path: str) -> FileStat:
        self.before("stat", path)
        return self.inner.stat(path)

    def replace(self, source: str, target: str) -> None:
        self.before("replace", source)
        self.inner.replace(source, target)

    def remove(self, path: str) -> None:
        self.before("remove", path)
        self.inner.remove(path)

    def sync_directory(self, directory: str) -> "asyncio.Future[None]":
        return self.sync(lambda: self.inner.sync_directory(directory), "sync_directory", None)

    def usage(self) -> DiskUsage:
        return self.inner.usage()

    def lock(self, path: str) -> Lock:
        self.before("lock", path)
        return self.inner.lock(path)

    def list(self, directory: str) -> list[str]:
        self.before("list", directory)
        return self.inner.list(directory)


class FaultyFile:
    """An open file whose writes and syncs go through the fault."""

    def __init__(self, fault: DiskFault, inner: File) -> None:
        self.path = inner.path
        self._fault = fault
        self._inner = inner

    def read_at(self, position: int, length: int) -> bytes:
        self._fault.before("read_at", self.path)
        return self._inner.read_at(position, length)

    def write_at(self, position: int, data: Bytes) -> None:
        self._fault.write(self._inner, position, data)

    def set_length(self, length_bytes: int) -> None:
        self._fault.before("set_length", self.path)
        self._inner.set_length(length_bytes)

    def length(self) -> int:
        self._fault.before("length", self.path)
        return self._inner.length()

    def sync(self) -> "asyncio.Future[None]":
        return self._fault.sync(self._inner.sync, "sync", self._inner)

    def give_up(self) -> None:
        """Passed on, so that faults may wrap each other."""
        _give_up(self._inner)

    def close(self) -> None:
        self._inner.close()


def _give_up(file: File | None) -> None:
    forget = getattr(file, "give_up", None)  # the simulated disk alone can lose what a failed sync covered
    if forget is not None:
        forget()


def _error(code: int, path: str) -> OSError:
    return OSError(code, os.strerror(code), path)


class SlowDisk(DiskFault):
    """Every sync takes `extra_ms` longer. Syncs still end in the order they began."""

    def __init__(self, node: Node, inner: Disk, extra_ms: float) -> None:
        super().__init__(node, inner)
        self.extra_ms = extra_ms
        self._free_at_ms = 0.0

    def sync(self, start: StartSync, kind: str, file: File | None) -> "asyncio.Future[None]":
        outcome: asyncio.Future[None] = self.node.future()

        def ended(inner: "asyncio.Future[None]") -> None:
            now_ms = self.node.monotonic_ms()
            self._free_at_ms = max(self._free_at_ms, now_ms + self.extra_ms)
            self.node.call_later(self._free_at_ms - now_ms, lambda: _settle(outcome, inner))

        start().add_done_callback(ended)
        return outcome


def _settle(outcome: "asyncio.Future[None]", inner: "asyncio.Future[None]") -> None:
    if outcome.done():
        return
    error = inner.exception()
    if error is None:
        outcome.set_result(None)
    else:
        outcome.set_exception(error)


class FullDisk(DiskFault):
    """Takes `room_bytes` more, the last write perhaps in part, then ENOSPC until `room_bytes` is raised."""

    def __init__(self, node: Node, inner: Disk, room_bytes: int = 0) -> None:
        super().__init__(node, inner)
        self.room_bytes = room_bytes

    def write(self, file: File, position: int, data: Bytes) -> None:
        fits = min(len(data), self.room_bytes)
        if fits:
            file.write_at(position, memoryview(data)[:fits])
            self.room_bytes -= fits
        if fits < len(data):
            raise _error(errno.ENOSPC, file.path)

    def usage(self) -> DiskUsage:
        total_bytes = self.inner.usage().total_bytes
        return DiskUsage(total_bytes, total_bytes - self.room_bytes)


class FailingDisk(DiskFault):
    """The `nth` call of `kind` (from 1) fails with `code`, and so do the `count` - 1 after it.

    Kinds are the names of the Disk's and File's methods, and `create` for an open that makes the file.
    After a failed sync of a simulated file a later sync does not write what that one covered, as on Linux.
    """

    def __init__(
        self, node: Node, inner: Disk, kind: str, nth: int = 1, count: int = 1, code: int = errno.EIO
    ) -> None:
        super().__init__(node, inner)
        self.kind = kind
        self.code = code
        self._failing = range(nth, nth + count)
        self._seen = 0

    def _fails(self, kind: str) -> bool:
        self._seen += kind == self.kind
        return kind == self.kind and self._seen in self._failing

    def before(self, kind: str, path: str) -> None:
        if self._fails(kind):
            raise _error(self.code, path)

    def write(self, file: File, position: int, data: Bytes) -> None:
        self.before("write_at", file.path)
        file.write_at(position, data)

    def sync(self, start: StartSync, kind: str, file: File | None) -> "asyncio.Future[None]":
        if not self._fails(kind):
            return start()
        _give_up(file)
        outcome: asyncio.Future[None] = self.node.future()
        outcome.set_exception(_error(self.code, file.path if file else "directory"))
        return outcome


class ReadOnlyDisk(DiskFault):
    """EROFS for whatever would change something: what a system does to a file system it has found damaged."""

    def before(self, kind: str, path: str) -> None:
        if kind in ("create", "replace", "remove", "set_length", "lock"):
            raise _error(errno.EROFS, path)

    def write(self, file: File, position: int, data: Bytes) -> None:
        raise _error(errno.EROFS, file.path)
