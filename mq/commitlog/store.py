"""MessageStore: the log, what guards it and what is derived from it · depth

What always holds:
* A put goes: hooks, queue offset, append. Puts of one network read share one write and one dispatch.
* Nobody is told PUT_OK before the record is in the page cache, dispatched, and every acknowledger agrees.
* A failed write leaves the log and the queue offsets as they were; a failed sync ends all writing.
* The checkpoint moves only after the sync that makes it true.

Later floors fill the lists: `put_message_hooks` (every put), `acknowledgers`, `dispatchers`,
`confirm_offsets`, `queue_ends`.

Real: org.apache.rocketmq.store.DefaultMessageStore (simplified: one loop, no threads)
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Sequence

from mq.commitlog.append import Appender
from mq.commitlog.checkpoint import Checkpoint
from mq.commitlog.config import MessageStoreConfig
from mq.commitlog.fastappend import FastAppender
from mq.commitlog.flush import FlushDiskType, Flusher, GroupCommit
from mq.commitlog.housekeeping import Housekeeping
from mq.commitlog.legal import is_surely_legal, sure_body_bytes, why_illegal
from mq.commitlog.load import load_segments
from mq.commitlog.log import CommitLog
from mq.commitlog.put import AppendResult, Dispatcher, InnerMessage, PutStatus
from mq.commitlog.raw import append_raw
from mq.commitlog.reader import LogReader
from mq.commitlog.record import MAX_RECORD_BYTES, MessageExt, RecordError, decode_record, is_counted
from mq.commitlog.recovery import recover_log, recovery_start
from mq.commitlog.reput import Reput
from mq.commitlog.segments import Segments
from mq.commitlog.timedflush import TimedFlush
from mq.runtime.errors import StoreError
from mq.runtime.node import Node

Done = Callable[[AppendResult], None]
Acknowledger = Callable[[AppendResult], "asyncio.Future[PutStatus] | None"]
PutHook = Callable[[InnerMessage], "PutStatus | None"]
QueueEnds = Callable[[], dict[tuple[str, int], int]]

ABORT = "abort"  # this file is there while the store is open, and stays when it dies


class MessageStore:
    """One store on one disk. `put` and `write_out` are called on the loop; nothing here blocks it."""

    name = "message store"

    def __init__(self, node: Node, config: MessageStoreConfig) -> None:
        self.node = node
        self.config = config
        self.log = CommitLog(Segments(node.disk, "commitlog", config.mapped_file_size_commit_log))
        self.checkpoint = Checkpoint(node.disk)
        self.put_message_hooks: list[PutHook] = []
        self.acknowledgers: list[Acknowledger] = []
        self.dispatchers: list[Dispatcher] = []
        self.confirm_offsets: list[Callable[[], int]] = []
        self.queue_ends: list[QueueEnds] = []
        self.reput = Reput(self.log, self.dispatchers, self.confirm_offsets)
        self.flusher = Flusher(node, self.log, self._poison)
        self.dispatch_from = 0  # where this start began to dispatch
        self.refusal = "the store is not open"  # why nothing can be put; empty when it can
        self._sure_body_bytes = sure_body_bytes(config)
        self._appender: Appender = FastAppender(self.log, self.dispatchers)
        self._waiting: list[tuple[AppendResult, Done]] = []
        self._begin = 0  # where the records collected since the last write begin
        self._write_ms = 0  # store time of all of them
        self._write_is_due = False
        self._dispatch_failed = False
        self._is_sound = False  # open, and no sync has failed
        self._timed = self._make_policy()
        self._house = Housekeeping(node, config, self.flusher, self.dispatchers, self.checkpoint)

    # Opening and closing.

    async def start(self) -> None:
        """Recover, then accept. Raises StoreError when the files cannot be what they claim to be."""
        clean = not self.node.disk.exists(ABORT)
        self._load(clean)
        self.node.disk.open(ABORT, create=True).close()
        # Before anything is cut: who dies while recovering, or loses power, has not ended cleanly.
        await self.node.disk.sync_directory("")
        self._recover(clean)
        if not await self.flusher.sync():
            return
        self.refusal, self._is_sound = "", True

    async def stop(self) -> None:
        """Make everything durable, write the checkpoint, and mark the end as clean."""
        self.write_out()
        self.refusal = "the store is closing"
        self._timed.stop()
        self._house.stop()
        if self._is_sound and await self.flusher.sync() and await self._house.flush(thorough=True):
            self.node.disk.remove(ABORT)
            await self.node.disk.sync_directory("")
        for dispatcher in self.dispatchers:
            dispatcher.close()
        self.log.segments.close()

    def _load(self, clean: bool) -> None:
        """Open what is there. Raises StoreError when it is not what a store can be; then it is left alone."""
        dropped = load_segments(self.log.segments, clean)
        if dropped:
            self.node.journal.complain("segments dropped", files=",".join(dropped))
        self.checkpoint.load()
        for dispatcher in self.dispatchers:
            dispatcher.load()

    def _recover(self, clean: bool) -> None:
        safe_ms = self.checkpoint.safe_timestamp_ms(self.config.message_index_safe)
        start = recovery_start(self.log, clean, safe_ms)
        reader = recover_log(self.log, start, self.config.check_crc_on_recover)
        if reader.cut:
            self.node.journal.complain("log cut", at=reader.position, reason=reader.reason)
        end = self.log.end
        self._begin = end
        for dispatcher in self.dispatchers:
            dispatcher.recover(clean, end)
        begins = [dispatcher.recovered_to() for dispatcher in self.dispatchers] + ([] if clean else [start])
        self.dispatch_from = max(self.log.min_offset, min(begins, default=end))
        self._dispatch_again(clean, min(self.dispatch_from, end))
        self.node.journal.record(
            "recovered", clean=clean, read_from=start, end=end, dispatched_from=self.dispatch_from
        )
        if clean:  # all that was is durable; only what recovery itself did to the last file is not
            self.log.synced_to = max(self.log.segments.start_of(end), start)

    def _dispatch_again(self, clean: bool, position: int) -> None:
        """Feed the derived stores what they may lack, and learn where each queue goes on."""
        self.reput.dispatched_to = position
        for dispatcher in self.dispatchers:
            dispatcher.rewriting(not clean)
        self.reput.follow()
        for dispatcher in self.dispatchers:
            dispatcher.rewriting(False)
        self.learn_queue_ends()

    def learn_queue_ends(self) -> None:
        """Where each queue goes on, from those who know; without queues, from the log's every record."""
        self._appender.next_offsets = {}
        for ends in self.queue_ends:
            self._appender.next_offsets.update(ends())
        if not self.queue_ends:
            for message in LogReader(self.log, self.log.min_offset, self.log.end, check_crc=False):
                if is_counted(message.sys_flag):
                    self._appender.next_offsets[message.topic, message.queue_id] = message.queue_offset + 1

    # Putting.

    def put(self, message: InnerMessage, done: Done) -> None:
        """Append one message or batch; `done` is called once, when its fate is known."""
        if self.refusal:
            done(AppendResult(PutStatus.SERVICE_NOT_AVAILABLE, self.refusal))
            return
        if not is_surely_legal(message, self._sure_body_bytes):
            illegal = why_illegal(message, self.config)
            if illegal is not None:
                done(illegal)
                return
        for hook in self.put_message_hooks:
            status = hook(message)
            if status is not None:
                done(AppendResult(status))
                return
        if not self._waiting:
            self._write_ms = self._stamp_ms()
        try:
            result = self._appender.append(message, self._write_ms)
        except OSError as error:
            # A batch may have been appended in part: all that share the next write share its fate.
            self._undo(error)
            done(self._disk_refused(error))
            return
        self._waiting.append((result, done))
        if not self._write_is_due:
            self._write_is_due = True
            self.node.call_soon(self.write_out)  # for a put that no network read will write out

    async def put_and_wait(self, message: InnerMessage) -> AppendResult:
        """`put` for callers that can wait."""
        future: asyncio.Future[AppendResult] = self.node.future()
        self.put(message, future.set_result)
        return await future

    def write_out(self) -> None:
        """One write for all that was appended since the last one, one dispatch, and the answers."""
        self._write_is_due = False
        if not self._waiting:
            return
        try:
            requests = self._appender.write_out(self._write_ms)
        except OSError as error:
            self._undo(error)
            return
        waiting, self._waiting = self._waiting, []
        begin, self._begin = self._begin, self.log.end
        self._dispatch(lambda: self.reput.appended(begin, requests))
        for result, done in waiting:
            self._acknowledge(result, done)
        self._is_dirty()

    def _dispatch(self, tell: Callable[[], None]) -> None:
        """Tell the derived stores. What fails in one of them is no sender's fault: its record is in the log.

        They are told again with the next write, from the first record that was not taken by all, and senders
        are answered meanwhile. (4.9.8: its reput thread logs, and tries the same record again.)
        """
        try:
            tell()
        except Exception as error:  # noqa: BLE001 - whatever a derived store does wrong, senders get their answers
            if not self._dispatch_failed:
                what = f"{type(error).__name__}: {error}"
                self.node.journal.complain("dispatch failed", at=self.reput.dispatched_to, error=what)
            self._dispatch_failed = True
        else:
            self._dispatch_failed = False

    def _is_dirty(self) -> None:
        """Something was written; what nobody waits for, the timers make durable."""
        self._timed.arm()
        self._house.arm()

    def _stamp_ms(self) -> int:
        """The store time of a record: the wall clock's, but never before the record in front of it.

        Recovery finds its way by these times. Were the clock set back, it would take a new segment for one
        that the checkpoint covers, and skip what was never synced before it. (4.9.8 follows the clock.)
        The records of one write share theirs, for they come in one moment.
        """
        return max(self.node.wall_ms(), self.log.last_store_timestamp_ms)

    def _acknowledge(self, result: AppendResult, done: Done) -> None:
        """Answer at once when nobody objects: no task and no future for each message."""
        waits = None
        for acknowledger in self.acknowledgers:
            wait = acknowledger(result)
            if wait is not None:
                waits = [wait] if waits is None else [*waits, wait]
        if waits is None:
            done(result)
        else:
            _answer_after(waits, result, done)

    def _undo(self, error: OSError) -> None:
        """Nothing was written: give back the queue offsets, and tell everybody who shared the write."""
        try:
            self._appender.undo()
        except OSError as worse:
            self._poison(worse)
        waiting, self._waiting = self._waiting, []
        for _, done in waiting:
            done(self._disk_refused(error))

    def _disk_refused(self, error: OSError) -> AppendResult:
        self.node.journal.complain("write failed", error=str(error))
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
        status = PutStatus.SERVICE_NOT_AVAILABLE if is_full else PutStatus.UNKNOWN_ERROR
        return AppendResult(status, f"the disk refused the write: {error.strerror}")

    def _poison(self, error: OSError) -> None:
        self._is_sound = False
        self.refusal = f"the disk failed ({error.strerror}); what it holds is in doubt until a restart"
        self.node.journal.complain("store poisoned", error=str(error))

    # Copying another's log.

    def append_raw(self, physical_offset: int, data: bytes) -> None:
        """Take bytes of another store's log as they are; whole records among them are dispatched at once.

        Raises StoreError when they do not continue this log, OSError when the disk refuses.
        """
        self.write_out()
        try:
            append_raw(self.log, physical_offset, data)
        except OSError as error:
            self._undo(error)
            raise
        self._begin = self.log.end
        self.reput.dispatched_to = max(self.reput.dispatched_to, self.log.min_offset)
        self._dispatch(self.reput.follow)
        self.log.last_store_timestamp_ms = max(self.log.last_store_timestamp_ms, self.reput.handed_on_ms)
        self._is_dirty()

    def truncate(self, physical_offset: int) -> None:
        """Cut the log where a record begins, and what is derived from what lay behind. Raises StoreError."""
        self.write_out()
        if not self.log.min_offset <= physical_offset <= self.log.end:
            span = f"{self.log.min_offset} to {self.log.end}"
            raise StoreError(f"cannot cut at {physical_offset}: the log has {span}")
        self.log.resume(physical_offset)
        self.log.synced_to = min(self.log.synced_to, self.log.segments.start_of(physical_offset))
        self._begin = physical_offset
        for dispatcher in self.dispatchers:
            dispatcher.truncate(physical_offset)
        begins = [dispatcher.recovered_to() for dispatcher in self.dispatchers]
        self.reput.dispatched_to = max(self.log.min_offset, min([physical_offset, *begins]))
        self.reput.follow()
        self.learn_queue_ends()
        self._is_dirty()

    # Reading.

    @property
    def min_physical_offset(self) -> int:
        """Where the oldest record may begin."""
        return self.log.min_offset

    @property
    def max_physical_offset(self) -> int:
        """Where the next record will begin, as far as readers may know."""
        return self.log.written_to

    def read(self, physical_offset: int, size: int) -> bytes:
        """A record's bytes; empty when they are gone."""
        return self.log.read(physical_offset, size)

    def record_at(self, physical_offset: int, size: int) -> MessageExt | None:
        """The message at a place, None when there is none."""
        try:
            message = decode_record(self.log.read(physical_offset, size), check_crc=False)
        except RecordError:
            return None
        return message if message.physical_offset == physical_offset else None

    def size_at(self, physical_offset: int) -> int:
        """How many bytes the record at this place says it has; 0 when it says nothing that can be."""
        size = int.from_bytes(self.log.read(physical_offset, 4), "big")
        return size if size <= MAX_RECORD_BYTES else 0

    def store_time_at(self, physical_offset: int, size: int) -> int:
        """When the message at a place was stored, ms since 1970; -1 when it is gone."""
        message = self.record_at(physical_offset, size)
        return message.store_timestamp_ms if message is not None else -1

    def next_queue_offset(self, topic: str, queue_id: int) -> int:
        """The queue offset that the next message of this queue will get."""
        return self._appender.next_offsets.get((topic, queue_id), 0)

    # Making it durable.

    def _make_policy(self) -> TimedFlush:
        config = self.config
        timed = TimedFlush(
            self.node,
            self.flusher,
            config.flush_interval_commit_log,
            config.flush_commit_log_least_pages,
            config.flush_commit_log_thorough_interval,
        )
        if config.flush_disk_type is FlushDiskType.SYNC_FLUSH:
            group_commit = GroupCommit(self.node, self.flusher, config.sync_flush_timeout)
            self.acknowledgers.append(group_commit.acknowledge)
        return timed


def _answer_after(waits: Sequence[asyncio.Future[PutStatus]], result: AppendResult, done: Done) -> None:
    """Call `done` when all have been waited for; the first that is not content decides the status."""
    pending = len(waits)

    def one_is_done(wait: asyncio.Future[PutStatus]) -> None:
        nonlocal pending
        pending -= 1
        status = wait.result()
        if status is not PutStatus.PUT_OK and result.status is PutStatus.PUT_OK:
            result.status = status
        if not pending:
            done(result)

    for wait in waits:
        wait.add_done_callback(one_is_done)
