"""The real Node: asyncio's loop, sockets and files · depth

What always holds: the loop never waits for the disk's surface: reads and writes go to the page cache, and
every sync runs in one worker thread, in the order it was asked for. This is the only module of the floors
that touches `os`, sockets, threads and clocks.
"""

import asyncio
import errno
import fcntl
import os
import queue
import random
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

from mq.runtime.disk import DiskUsage, File, FileStat
from mq.runtime.journal import Journal
from mq.runtime.node import Listener, Node, P, T, Timer


class SyncWorker:
    """One thread that syncs and closes descriptors in the order it was asked to."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], None], asyncio.Future[None] | None] | None]
        self._jobs = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, job: Callable[[], None]) -> "asyncio.Future[None]":
        """Run `job` in the thread; the future belongs to the running loop."""
        future = asyncio.get_running_loop().create_future()
        self._start()
        self._jobs.put((job, future))
        return future

    def later(self, job: Callable[[], None]) -> None:
        """Run `job` after all that was asked before; nobody waits for it."""
        self._start()
        self._jobs.put((job, None))

    def stop(self) -> None:
        """Finish what was asked, then end the thread."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="sync", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, future = item
            error: OSError | None = None
            try:
                job()
            except OSError as problem:
                error = problem
            if future is not None:
                _settle_in_loop(future, error)


def _settle_in_loop(future: "asyncio.Future[None]", error: OSError | None) -> None:
    def settle() -> None:
        if not future.done():
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    try:
        future.get_loop().call_soon_threadsafe(settle)
    except RuntimeError:  # the loop has closed: nobody is left to tell
        return


def _failed(code: int, path: str) -> "asyncio.Future[None]":
    future = asyncio.get_running_loop().create_future()
    future.set_exception(OSError(code, os.strerror(code), path))
    return future


class RealFile:
    """A descriptor and its path below the root."""

    def __init__(self, path: str, descriptor: int, worker: SyncWorker) -> None:
        self.path = path
        self._descriptor = descriptor
        self._worker = worker
        self._syncs_in_flight = 0

    def read_at(self, position: int, length: int) -> bytes:
        data = os.pread(self._descriptor, length, position)
        while 0 < len(data) < length:  # a short read is legal; only an empty one means the end
            more = os.pread(self._descriptor, length - len(data), position + len(data))
            if not more:
                break
            data += more
        return data

    def write_at(self, position: int, data: bytes | bytearray | memoryview) -> None:
        written = os.pwrite(self._descriptor, data, position)
        while written < len(data):  # a short write is legal, and happens just before the disk is full
            written += os.pwrite(self._descriptor, memoryview(data)[written:], position + written)

    def set_length(self, length_bytes: int) -> None:
        os.ftruncate(self._descriptor, length_bytes)

    def length(self) -> int:
        return os.fstat(self._descriptor).st_size

    def sync(self) -> "asyncio.Future[None]":
        descriptor = self._descriptor
        if descriptor < 0:  # os.fsync(-1) is a ValueError, which would end the worker's thread
            return _failed(errno.EBADF, self.path)
        self._syncs_in_flight += 1
        future = self._worker.submit(lambda: os.fsync(descriptor))
        future.add_done_callback(self._synced)
        return future

    def _synced(self, future: "asyncio.Future[None]") -> None:
        self._syncs_in_flight -= 1

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0 and self._syncs_in_flight:
            self._worker.later(lambda: os.close(descriptor))
        elif descriptor >= 0:
            os.close(descriptor)


class RealLock:
    """A descriptor that holds flock's exclusive lock."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class RealDisk:
    """The files below `root`."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._worker = SyncWorker()

    def _full(self, path: str) -> str:
        return os.path.join(self.root, path)

    def open(self, path: str, create: bool = False) -> File:
        full = self._full(path)
        if create:
            os.makedirs(os.path.dirname(full), exist_ok=True)
        return RealFile(path, _descriptor(full, create), self._worker)

    def exists(self, path: str) -> bool:
        return os.path.exists(self._full(path))

    def list(self, directory: str) -> list[str]:
        try:
            return sorted(os.listdir(self._full(directory)))
        except FileNotFoundError:
            return []

    def stat(self, path: str) -> FileStat:
        found = os.stat(self._full(path))
        return FileStat(found.st_size, found.st_mtime_ns // 1_000_000)

    def replace(self, source: str, target: str) -> None:
        os.replace(self._full(source), self._full(target))

    def remove(self, path: str) -> None:
        full = self._full(path)
        if os.path.isdir(full):
            os.rmdir(full)
        else:
            os.remove(full)

    def sync_directory(self, directory: str) -> "asyncio.Future[None]":
        parts = [part for part in directory.split("/") if part]
        chain = [self._full("/".join(parts[:count])) for count in range(len(parts), -1, -1)]
        return self._worker.submit(lambda: _sync_directories(chain))

    def usage(self) -> DiskUsage:
        os.makedirs(self.root, exist_ok=True)
        found = os.statvfs(self.root)
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        # What is kept for the system's administrator is neither used nor ours: df counts like this, and Java.
        return DiskUsage(used + found.f_bavail * found.f_frsize, used)

    def lock(self, path: str) -> RealLock:
        full = self._full(path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        descriptor = os.open(full, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        return RealLock(descriptor)

    def close(self) -> None:
        """Wait for the syncs that were asked for, then end the worker thread."""
        self._worker.stop()


def _descriptor(full: str, create: bool) -> int:
    try:
        return os.open(full, os.O_RDWR | (os.O_CREAT if create else 0) | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if create or error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return os.open(full, os.O_RDONLY | os.O_CLOEXEC)  # what cannot be written can still be read


def _sync_directories(chain: list[str]) -> None:
    for directory in chain:
        descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class RealListener:
    """asyncio's server, and the port that it got."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server
        self.port: int = server.sockets[0].getsockname()[1]

    def close(self) -> None:
        self._server.close()


class RealNode(Node):
    """This machine. It binds to `address` only: loopback, unless told otherwise."""

    def __init__(self, name: str, root: str, address: str = "127.0.0.1") -> None:
        self.name = name
        self.address = address
        self.random = random.Random()
        self.disk = self.real_disk = RealDisk(root)
        started = time.monotonic()
        self.journal = Journal(name, lambda: (time.monotonic() - started) * 1000)
        self._tasks: set[asyncio.Task[Any]] = set()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> float:
        return time.monotonic() * 1000

    def call_later(self, delay_ms: float, callback: Callable[[], object]) -> Timer:
        return asyncio.get_running_loop().call_later(delay_ms / 1000, callback)

    def call_soon(self, callback: Callable[[], object]) -> None:
        asyncio.get_running_loop().call_soon(callback)

    def future(self) -> "asyncio.Future[Any]":
        return asyncio.get_running_loop().create_future()

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> "asyncio.Task[T]":
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)  # the loop itself keeps tasks only weakly
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        self.call_soon(lambda: self._complain_if_unclaimed(task))  # whoever awaits it wakes before that

    def _complain_if_unclaimed(self, task: "asyncio.Task[Any]") -> None:
        is_unclaimed = getattr(task, "_log_traceback", True)  # asyncio's own mark for "nobody has looked"
        if is_unclaimed and not task.cancelled() and (error := task.exception()) is not None:
            what = f"{type(error).__name__}: {error}"
            self.journal.complain("task failed", task=task.get_name(), error=what)

    async def sleep_ms(self, delay_ms: float) -> None:
        await asyncio.sleep(delay_ms / 1000)

    async def listen(self, port: int, factory: Callable[[], asyncio.Protocol]) -> Listener:
        loop = asyncio.get_running_loop()
        return RealListener(await loop.create_server(factory, self.address, port, backlog=1024))

    async def connect(self, address: str, factory: Callable[[], P]) -> P:
        host, _, port = address.rpartition(":")
        _, protocol = await asyncio.get_running_loop().create_connection(factory, host.strip("[]"), int(port))
        return protocol
