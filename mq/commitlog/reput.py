"""Reput: what is in the log becomes visible, in order and exactly once · core

What always holds: every record below `dispatched_to` has been handed to every derived store, none beyond it
has, and none is handed on that lies beyond the confirmed offset. After a restart the walk begins early
enough to cover what the derived stores lost, and they pass over what they still have.

What the real system does: a thread reads the log each millisecond. Here whoever appended hands its requests
over, and the log is read only when there is no such hint: after a restart, and behind a confirmed offset.

Real: org.apache.rocketmq.store.DefaultMessageStore.ReputMessageService (equivalent, without polling)
"""

from collections.abc import Callable, Sequence

from mq.commitlog.log import CommitLog
from mq.commitlog.put import Dispatcher, DispatchRequest, request_of
from mq.commitlog.reader import LogReader

BATCH_REQUESTS = 1024  # so many records are handed on at once while the log is read


class Reput:
    """Follows one log for its derived stores."""

    def __init__(
        self, log: CommitLog, dispatchers: list[Dispatcher], confirm_offsets: list[Callable[[], int]]
    ) -> None:
        self.log = log
        self.dispatchers = dispatchers
        self.confirm_offsets = confirm_offsets
        self.dispatched_to = 0
        self.handed_on_ms = 0  # store time of the last record that was handed on

    @property
    def confirmed(self) -> int:
        """How far records may be shown."""
        return min([self.log.written_to, *[offset() for offset in self.confirm_offsets]])

    def appended(self, begin: int, requests: Sequence[DispatchRequest]) -> None:
        """Take the requests of the records that have just been written, from `begin` to the log's end."""
        if begin == self.dispatched_to and not self.confirm_offsets:
            self._hand_on(requests)
            self.dispatched_to = self.log.written_to
        else:
            self.follow()

    def follow(self) -> None:
        """Read the log from where we are to the confirmed offset, and hand its records on."""
        reader = LogReader(self.log, self.dispatched_to, self.confirmed, check_crc=False)
        requests: list[DispatchRequest] = []
        for message in reader:
            requests.append(request_of(message))
            if len(requests) == BATCH_REQUESTS:
                self._hand_on(requests)
                self.dispatched_to = reader.position  # never ahead of what was handed on
                requests = []
        self._hand_on(requests)
        self.dispatched_to = reader.position

    def _hand_on(self, requests: Sequence[DispatchRequest]) -> None:
        """Give requests to every derived store, in the order in which the stores were plugged in."""
        if requests:
            for dispatcher in self.dispatchers:
                dispatcher.dispatch(requests)
            self.handed_on_ms = requests[-1].store_timestamp_ms
