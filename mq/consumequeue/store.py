"""QueueStore: follow the log to its end, and enter every record in its queue exactly once · core

What always holds:
* The log is the truth. A queue says nothing that the log did not say, and can always be made again.
* Exactly once, without a note of how far we are: a record says which number it has in its queue, and the
  queue says how many it has. The last entry says up to where the queue has followed the log.
* A half message and a rolled-back one are in the log and in no queue.
* Entries wait in memory and may be lost. `flush(thorough=True)` returns a store time only when everything
  up to then is written *and synced*; the checkpoint follows it, and recovery begins at the checkpoint.

After an unclean end the files may hold anything behind the checkpoint: pages that were never written, and
entries whose records the log has lost. So each queue is cut back to an entry that agrees with the log, and,
while `rewriting` is on, once more to the first record that is handed over: from there all is written afresh.

Real: org.apache.rocketmq.store.DefaultMessageStore.CommitLogDispatcherBuildConsumeQueue (equivalent)
"""

from collections.abc import Sequence

from mq.commitlog.put import DispatchRequest
from mq.commitlog.record import MAX_RECORD_BYTES, TRANSACTION_PREPARED
from mq.consumequeue.logview import Log
from mq.consumequeue.openfiles import OpenFiles
from mq.consumequeue.queue import ENTRY_BYTES, FILE_BYTES, ConsumeQueue
from mq.consumequeue.queuetable import QueueTable
from mq.consumequeue.tails import LEAST_PAGES, Tails
from mq.consumequeue.trimming import Trimmer
from mq.runtime.node import Node


class QueueStore:
    """All queues of a broker: a derived store of the log."""

    name = "logics"

    def __init__(
        self, node: Node, log: Log, file_bytes: int = FILE_BYTES, least_pages: int = LEAST_PAGES
    ) -> None:
        self.node = node
        self.log = log
        self.file_bytes = file_bytes
        self.queues = QueueTable()
        self.tails = Tails(node, least_pages)
        self._to_cut: dict[tuple[str, int], ConsumeQueue] = {}  # while rewriting: not yet handed a record
        self._dispatched_ms = 0  # store time of the last record that was handed over
        self._open_files = OpenFiles(node.disk)
        self._trimmer = Trimmer(node)

    def find(self, topic: str, queue_id: int) -> ConsumeQueue | None:
        """The queue; None when no message ever came to it."""
        return self.queues.get((topic, queue_id))

    def open(self, topic: str, queue_id: int) -> ConsumeQueue:
        """The queue, an empty one if need be. Its first flush makes its first file."""
        queue = self.queues.get((topic, queue_id))
        if queue is None:
            queue = ConsumeQueue(self.node.disk, topic, queue_id, self.file_bytes, self._open_files)
            self.queues[topic, queue_id] = queue
        return queue

    def queue_ends(self) -> dict[tuple[str, int], int]:
        """For each queue, the queue offset that its next message gets."""
        return {key: queue.max_queue_offset for key, queue in self.queues.items()}

    # Following the log.

    def dispatch(self, requests: Sequence[DispatchRequest]) -> None:
        """Enter records in their queues, in the order of the log; pass over what has been entered."""
        topics, waiting, to_cut, entered = self.queues.by_topic, self.tails.queues, self._to_cut, 0
        for request in requests:
            if request.sys_flag & TRANSACTION_PREPARED:
                continue  # the bit is set for a half message and for a rollback: no consumer may see either
            of_topic = topics.get(request.topic)
            queue = of_topic.get(request.queue_id) if of_topic is not None else None
            if queue is None or to_cut or request.queue_offset != queue.max_queue_offset:
                entered += self._enter(request)
                continue
            if not queue.tail:
                waiting[queue] = None
            queue.append(
                request.queue_offset, request.physical_offset, request.size, request.queue_entry_code
            )
            entered += ENTRY_BYTES
        if requests:
            self._dispatched_ms = requests[-1].store_timestamp_ms
            self.tails.grew(entered)

    def _enter(self, request: DispatchRequest) -> int:
        """Enter one record, whatever there is to do before; returns by how many bytes more wait.

        For a record that is next in its queue `dispatch` does the same in fewer steps.
        """
        queue = self.open(request.topic, request.queue_id)
        waited = len(queue.tail)
        self._prepare(queue, request)
        queue.append(request.queue_offset, request.physical_offset, request.size, request.queue_entry_code)
        if queue.tail:
            self.tails.queues[queue] = None
        return len(queue.tail) - waited

    def _prepare(self, queue: ConsumeQueue, request: DispatchRequest) -> None:
        if self._to_cut and self._to_cut.pop((queue.topic, queue.queue_id), None) is not None:
            queue.cut(min(request.queue_offset, queue.max_queue_offset))
        if request.queue_offset > queue.max_queue_offset > queue.min_queue_offset:
            self.node.journal.complain(
                "queue has a gap",
                queue=queue.directory,
                expected=queue.max_queue_offset,
                came=request.queue_offset,
                advice="remove the directory consumequeue and restart: the log makes all queues again",
            )

    def rewriting(self, on: bool) -> None:
        """While on, the first record for each queue cuts it there: all behind it is written afresh."""
        self._to_cut = dict(self.queues) if on else {}
        if not on:
            for queue in self.queues.values():
                queue.delete_before(self.log.min_physical_offset)

    # After a restart.

    def load(self) -> None:
        """Open the queues that are on disk. Raises StoreError for a file that is none of ours."""
        disk = self.node.disk
        for topic in disk.list("consumequeue"):
            for queue_id in disk.list(f"consumequeue/{topic}"):
                if queue_id.isdecimal():
                    self.open(topic, int(queue_id)).load()
        for queue in self.queues.values():
            if queue.is_damaged:
                self.node.journal.complain("queue files are missing", queue=queue.directory)

    def recovered_to(self) -> int:
        """Up to where the queues have followed the log; 0 when there is no queue."""
        damaged = [queue.physical_end for queue in self.queues.values() if queue.is_damaged]
        return min([max((queue.physical_end for queue in self.queues.values()), default=0), *damaged])

    def recover(self, clean: bool, log_end: int) -> None:
        """Cut each queue behind the last entry that agrees with the log."""
        for queue in self.queues.values():
            if clean and not queue.is_damaged:
                queue.names_changed = False  # they were synced before the end was marked as clean
            end = queue.max_queue_offset if queue.physical_end <= log_end else queue.first_from(log_end)
            while end > queue.min_queue_offset and not self._agrees(queue, end - 1, log_end):
                end -= 1
            queue.cut(end)
            queue.delete_before(self.log.min_physical_offset)

    def _agrees(self, queue: ConsumeQueue, queue_offset: int, log_end: int) -> bool:
        """Whether the entry names a record that names the entry. A record that is gone cannot be asked."""
        entry = queue.entry_at(queue_offset)
        if entry is None or not 0 < entry.size <= MAX_RECORD_BYTES or entry.physical_end > log_end:
            return False
        if entry.physical_offset < self.log.min_physical_offset:
            return True
        record = self.log.record_at(entry.physical_offset, entry.size)
        names = (queue.topic, queue.queue_id, queue_offset, entry.size)
        return record is not None and names == (
            record.topic, record.queue_id, record.queue_offset, record.size,
        )  # fmt: skip

    def truncate(self, physical_offset: int) -> None:
        """The log was cut here: so are the queues."""
        for queue in self.queues.values():
            queue.cut(queue.first_from(physical_offset))
        self.tails.recount()

    def delete_before(self, physical_offset: int) -> None:
        """The log has let go of what lies below: so do the queues, one after the other. Raises OSError."""
        self._trimmer.delete_before(self.queues.values(), physical_offset)

    # Making it durable.

    async def flush(self, thorough: bool) -> int | None:
        """Write the tails that are worth it; `thorough`: all of them, and sync.

        Returns the store time (ms) up to which every entry is durable, None when it cannot say.
        """
        dispatched_ms = self._dispatched_ms
        is_durable = await self.tails.flush(thorough, self.queues.values())
        return dispatched_ms if is_durable else None

    async def start(self) -> None:
        """As a service of the broker: there is nothing to begin."""

    async def stop(self) -> None:
        """As a service of the broker, stopped before its store: the flush that follows is the last."""
        self.tails.close_soon()

    def close(self) -> None:
        """Give the descriptors back."""
        self._trimmer.stop()
        self._open_files.close()
