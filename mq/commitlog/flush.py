"""When does the log become durable, and who waits for it? · core

What always holds:
* Under ASYNC_FLUSH nobody waits. The log is synced each 500 ms when four pages are dirty, and each 10 s
  whatever is dirty: what came since may be lost when the machine dies.
* Under SYNC_FLUSH an acknowledgement follows a sync that began after the write. All who came while a sync
  ran share the next one: group commit.
* A sync that failed is never tried again: after it the page cache may claim to be clean. The store is
  poisoned, and accepts nothing more.

Real: org.apache.rocketmq.store.CommitLog.GroupCommitService, FlushRealTimeService (equivalent)
"""

import asyncio
from collections.abc import Callable
from enum import Enum

from mq.commitlog.log import CommitLog
from mq.commitlog.put import AppendResult, PutStatus
from mq.runtime.node import Node

SHARED_MS = 1  # who comes within it shares one time limit: a timer for each put would cost more than the put


class FlushDiskType(Enum):
    """Who waits for the disk."""

    ASYNC_FLUSH = 0
    SYNC_FLUSH = 1


class Flusher:
    """Syncs one log by its policy. `poison` is called once, with the error of a sync that failed."""

    def __init__(self, node: Node, log: CommitLog, poison: Callable[[OSError], None]) -> None:
        self.node = node
        self.log = log
        self.poison = poison
        self.has_failed = False
        self._syncing = asyncio.Lock()

    async def sync(self) -> bool:
        """Make durable what is written; False when the disk refuses, and for ever after."""
        async with self._syncing:
            if self.has_failed:
                return False
            try:
                await self.log.sync()
            except OSError as error:
                self.has_failed = True
                self.poison(error)
                return False
        return True


class GroupCommit:
    """SYNC_FLUSH: one sync for everybody who came while the last one ran."""

    def __init__(self, node: Node, flusher: Flusher, timeout_ms: int) -> None:
        self.node = node
        self.flusher = flusher
        self.timeout_ms = timeout_ms
        self._groups: list[asyncio.Future[PutStatus]] = []  # who waits for the next sync, in order
        self._last_came_ms = 0.0  # when the last group was begun
        self._is_running = False

    def acknowledge(self, result: AppendResult) -> "asyncio.Future[PutStatus] | None":
        """What a put has to wait for: None when its sender does not want to wait for the disk."""
        if not result.wait_store_ok:
            return None
        now_ms = self.node.monotonic_ms()
        if not self._groups or now_ms - self._last_came_ms >= SHARED_MS:
            self._groups.append(self._new_group())
            self._last_came_ms = now_ms
            if not self._is_running:
                self._is_running = True
                self.node.spawn(self._run(), "group commit")
        return self._groups[-1]

    def _new_group(self) -> "asyncio.Future[PutStatus]":
        group: asyncio.Future[PutStatus] = self.node.future()
        timer = self.node.call_later(self.timeout_ms, lambda: _settle(group, PutStatus.FLUSH_DISK_TIMEOUT))
        group.add_done_callback(lambda _: timer.cancel())
        return group

    async def _run(self) -> None:
        while self._groups:
            groups, self._groups = self._groups, []
            is_safe = await self.flusher.sync()
            for group in groups:
                _settle(group, PutStatus.PUT_OK if is_safe else PutStatus.FLUSH_DISK_TIMEOUT)
        self._is_running = False


def _settle(group: "asyncio.Future[PutStatus]", status: PutStatus) -> None:
    if not group.done():
        group.set_result(status)
