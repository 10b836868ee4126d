"""Brokers and NameServers that are wrong on purpose, one mistake each: what the checkers must catch.

A mistake is planted into a real broker before it starts, through the parts that a floor plugs in. Each comes
with a scenario, the anomaly's name, and words of the sentence that a learner would read.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from mq.commitlog.message import PROPERTY_UNIQ_KEY
from mq.commitlog.put import AppendResult, DispatchRequest, InnerMessage, PutStatus
from mq.commitlog.reader import LogReader
from mq.commitlog.store import Done, MessageStore
from mq.consumequeue.store import QueueStore
from mq.routing.broker import Broker
from mq.routing.namesrv import NameServer
from mq.sim.history import History, Record, Sent
from mq.sim.lab import Alter
from mq.sim.node import SimNode

LATE_MS = 300
EACH = 7  # every so many-th message is treated wrongly


@dataclass(frozen=True)
class Mistake:
    """One wrong broker, the scenario that shows it, and what must be said."""

    name: str
    plant: Alter
    scenario: str
    kind: str
    says: str  # a regular expression


MISTAKES: list[Mistake] = []


def mistake(scenario: str, kind: str, says: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function that spoils a Broker (or a NameServer, when its argument is called `server`)."""

    def register(spoil: Callable[..., None]) -> Callable[..., None]:
        wanted = NameServer if spoil.__code__.co_varnames[0] == "server" else Broker

        def plant(part: Broker | NameServer) -> None:
            if isinstance(part, wanted):
                spoil(part)

        MISTAKES.append(Mistake(spoil.__name__, plant, scenario, kind, says))
        return spoil

    return register


def called(name: str) -> Mistake:
    """The mistake of this name."""
    (found,) = [mistake for mistake in MISTAKES if mistake.name == name]
    return found


def instead(owner: object, name: str, wrong: Callable[..., object]) -> None:
    """Put another function in the place of a method of this one object."""
    setattr(owner, name, wrong)


# ---------------------------------------------------------------- acknowledging


@mistake("lone-sync seed=1 3000:kill=a/process 3500:restart=a", "lost", r"at \d+ ms and lies on no disk")
def acknowledges_before_it_writes(broker: Broker) -> None:
    store = broker.part(MessageStore)
    really_put = store.put
    waiting: Counter[tuple[str, int]] = Counter()

    def put(message: InnerMessage, done: Done) -> None:
        queue, count = (message.topic, message.queue_id), len(message.parts or (1,))
        result = AppendResult(PutStatus.PUT_OK)
        result.queue_offset = store.next_queue_offset(*queue) + waiting[queue]
        result.physical_offset, result.physical_offsets = 0, [0] * count
        waiting[queue] += count

        def write() -> None:
            waiting[queue] -= count
            really_put(message, lambda _: None)

        broker.node.call_later(LATE_MS, write)
        done(result)

    instead(store, "put", put)


@mistake("lone-sync seed=3 3000:kill=a/power 4500:restart=a", "lost", r"lies on no disk \(looked at: a\)")
def acknowledges_before_it_syncs(broker: Broker) -> None:
    broker.part(MessageStore).acknowledgers.clear()


@mistake("lone-sync seed=1 calm", "diverged", r"its sender was told otherwise")
def tells_the_wrong_place(broker: Broker) -> None:
    store = broker.part(MessageStore)
    really_put = store.put

    def put(message: InnerMessage, done: Done) -> None:
        def wrongly(result: AppendResult) -> None:
            result.queue_offset += 1
            done(result)

        really_put(message, wrongly)

    instead(store, "put", put)


@mistake("lone-sync seed=1 3000:kill=a/process 3500:restart=a", "diverged", r"@0 is c-\d+ on a and c-\d+")
def counts_from_zero_after_a_restart(broker: Broker) -> None:
    store = broker.part(MessageStore)
    instead(store, "learn_queue_ends", lambda: None)


@mistake("lone-async seed=1 6000:kill=a/power 7500:restart=a", "lost", r"lies on no disk \(looked at: a\)")
def acknowledges_every_seventh_without_storing_it(broker: Broker) -> None:
    """Power went, so a loss is allowed; but what a log loses is its end, and others lay behind these."""
    store = broker.part(MessageStore)
    really_put, count = store.put, Counter[str]()

    def put(message: InnerMessage, done: Done) -> None:
        count["puts"] += 1
        if count["puts"] % EACH or message.parts:
            really_put(message, done)
            return
        result = AppendResult(PutStatus.PUT_OK)
        result.queue_offset = store.next_queue_offset(message.topic, message.queue_id)
        result.physical_offset, result.physical_offsets = 0, [0]
        done(result)

    instead(store, "put", put)


@mistake("mixed seed=3 28000:kill=a/power 29000:restart=a", "lost", r"at \d{4} ms and lies on no disk")
def never_syncs(broker: Broker) -> None:
    """Power went, so a loss is allowed; but not of what is older than eleven seconds."""

    async def sync() -> bool:
        return True

    instead(broker.part(MessageStore).flusher, "sync", sync)


# ---------------------------------------------------------------- storing


@mistake("lone-sync seed=1 calm", "duplicated", r"was sent once and lies on the disk of a at \d+ and at \d+")
def stores_twice(broker: Broker) -> None:
    store = broker.part(MessageStore)
    really_put, count = store.put, Counter[str]()

    def put(message: InnerMessage, done: Done) -> None:
        really_put(message, done)
        count["puts"] += 1
        if count["puts"] % EACH == 0:
            really_put(message, lambda _: None)

    instead(store, "put", put)


@mistake(
    "lone-sync seed=1 calm", "phantom", r"holds message ghost-\d+ in flights/a/\d @\d+, and nobody sent it"
)
def invents_a_record(broker: Broker) -> None:
    store = broker.part(MessageStore)
    really_put, count = store.put, Counter[str]()

    def put(message: InnerMessage, done: Done) -> None:
        really_put(message, done)
        count["puts"] += 1
        if count["puts"] % EACH == 0 and not message.parts:
            text = f"{PROPERTY_UNIQ_KEY}\x01ghost-{count['puts']}\x02"
            ghost = InnerMessage(
                message.topic, message.queue_id, b"boo", {}, text, message.born_timestamp_ms,
                message.born_host, message.store_host,
            )  # fmt: skip
            really_put(ghost, lambda _: None)

    instead(store, "put", put)


@mistake("lone-sync seed=1 calm", "phantom", r"and it was sent with another body")
def changes_a_body(broker: Broker) -> None:
    store = broker.part(MessageStore)
    really_put, count = store.put, Counter[str]()

    def put(message: InnerMessage, done: Done) -> None:
        count["puts"] += 1
        if count["puts"] % EACH == 0 and message.body:
            message.body = message.body[:-1] + b"?"
        really_put(message, done)

    instead(store, "put", put)


@mistake("lone-async seed=1 6000:kill=a/process 6500:restart=a", "visible before commit", r"it was safe$")
def keeps_the_end_of_its_log_in_a_buffer(broker: Broker) -> None:
    """As a file object does that nobody flushes: readers are shown what a process death takes away."""
    segments = broker.part(MessageStore).log.segments
    really_write, really_read, really_sync = segments.write, segments.read, segments.sync
    buffered: list[tuple[int, bytes]] = []

    def read(position: int, length: int) -> bytes:
        found = bytearray(really_read(position, length))
        for begin, data in buffered:
            first, last = max(begin, position), min(begin + len(data), position + len(found))
            if first < last:
                found[first - position : last - position] = data[first - begin : last - begin]
        return bytes(found)

    async def sync(*places: int) -> None:
        for begin, data in buffered:
            really_write(begin, data)
        buffered.clear()
        await really_sync(*places)

    instead(segments, "write", lambda position, data: buffered.append((position, bytes(data))))
    instead(segments, "read", read)
    instead(segments, "sync", sync)


@mistake("lone-looked seed=1", "resurrected after rollback", r"was gone from the disk of a at \d+ ms, and is")
def overlooks_its_last_records_in_its_second_life(broker: Broker) -> None:
    """It goes on before them and does not cut them away: the next life finds them again."""
    log, life = broker.part(MessageStore).log, cast(SimNode, broker.node).life
    really_resume = log.resume

    def resume(end: int) -> None:
        really_resume(end)
        if life.number == 2:
            reader = LogReader(log, log.min_offset, end)
            log.end = log.written_to = [record.physical_offset for record in reader][-3]

    instead(log, "resume", resume)


# ---------------------------------------------------------------- following the log


def _dispatch(
    broker: Broker, change: Callable[[Sequence[DispatchRequest]], Iterable[DispatchRequest]]
) -> None:
    queues = broker.part(QueueStore)
    really_dispatch = queues.dispatch
    instead(queues, "dispatch", lambda requests: really_dispatch(list(change(requests))))


def _moved(request: DispatchRequest, place: DispatchRequest) -> DispatchRequest:
    """The entry of `place`, pointing at the record of `request`."""
    return DispatchRequest(
        place.topic, place.queue_id, request.physical_offset, request.size, request.tags_code,
        place.store_timestamp_ms, place.queue_offset, place.keys, place.uniq_key, place.sys_flag,
        place.properties_text,
    )  # fmt: skip


@mistake("lone-sync seed=1 calm", "duplicated", r"reader audit was shown message c-\d+ twice in flights/a/\d")
def dispatches_twice(broker: Broker) -> None:
    def change(requests: Sequence[DispatchRequest]) -> Iterable[DispatchRequest]:
        for request in requests:
            yield request
            if request.queue_offset % EACH == 0:
                again = _moved(request, request)
                again.queue_offset += 1  # the place of the next, which will then be passed over
                yield again

    _dispatch(broker, change)


@mistake("lone-sync seed=1 calm", "skipped", r"went past flights/a/\d @\d+ and never saw message c-\d+")
def dispatch_skips_one(broker: Broker) -> None:
    _dispatch(broker, lambda requests: [each for each in requests if each.queue_offset % EACH != 3])


@mistake(
    "lone-sync seed=1 calm", "out of order", r"was shown message c-\d+ \(flights/a/\d @\d+\) after message"
)
def swaps_two_entries(broker: Broker) -> None:
    def change(requests: Sequence[DispatchRequest]) -> Iterable[DispatchRequest]:
        if len(requests) < 2 or len({request.queue_id for request in requests}) > 1:
            return requests
        first, second, *rest = requests
        return [_moved(second, first), _moved(first, second), *rest]

    _dispatch(broker, change)


# ---------------------------------------------------------------- forgetting brokers


@mistake(
    "expiry-silence seed=1", "stale route", r"nameserver n still believed in a at .* \(silence\), and 131 s"
)
def routes_never_expire(server: NameServer) -> None:
    instead(server.tables, "expire", lambda now_ms: [])
    instead(server.tables, "closed", lambda connection: [])  # an idle connection is closed, too


@mistake(
    "expiry-reset seed=1", "stale route", r"client c still believed in a .* \(reset\), and 34 s are enough"
)
def closed_connections_are_overlooked(server: NameServer) -> None:
    instead(server.tables, "closed", lambda connection: [])


# ---------------------------------------------------------------- ideas of later floors, in miniature


class TinyBroker:
    """One queue in memory with transactions and delays, done right. Its subclasses are not.

    It stands for floors that do not exist yet, so that the checkers' words for them are proved on something
    that runs.
    """

    def __init__(self) -> None:
        self.history = History(topics=("flights",))
        self.now_ms = 0.0
        self._log: list[Record] = []
        self._shown: list[Record] = []  # what readers may see, in order

    def put(self, key: str, *, half: bool = False, delay_ms: float | None = None) -> None:
        """Send and acknowledge a message; half: of a transaction."""
        due_ms = None if delay_ms is None else self.now_ms + delay_ms
        self.history.send(key, "flights", b"", "gate", self.now_ms, is_half=half, not_before_ms=due_ms)
        record = Record(key, b"", "flights/tiny/0", len(self._log), len(self._log))
        self._log.append(record)
        self.history.tell(key, "SEND_OK", self.now_ms, record.queue, record.queue_offset)
        if self.may_show(self.history.sent[key]):
            self._shown.append(record)

    def end(self, key: str, decision: str) -> None:
        """The transaction of a half message ends."""
        self.history.decide(key, decision, self.now_ms)
        self.show_due()

    def may_show(self, sent: Sent) -> bool:
        """Whether a reader may see it now."""
        is_due = sent.not_before_ms is None or sent.not_before_ms <= self.now_ms
        return is_due and (not sent.is_half or sent.decision == "commit")

    def show_due(self) -> None:
        """Show what may be shown by now."""
        shown = {record.key for record in self._shown}
        for record in self._log:
            if record.key not in shown and self.may_show(self.history.sent[record.key]):
                self._shown.append(record)

    def pass_time(self, ms: float) -> None:
        """Time passes; then a reader looks at everything that may be seen."""
        self.now_ms += ms
        self.show_due()
        for record in self._shown:
            self.history.move("board", record.queue)
            place = record.queue_offset
            self.history.read("board", record.queue, place, place + 1, [record], self.now_ms)

    def play(self) -> History:
        """Two transactions and a delayed message; a reader looks each ten seconds."""
        self.put("plain")
        self.put("paid", half=True)
        self.put("unpaid", half=True)
        self.put("later", delay_ms=25_000)
        self.pass_time(10_000)
        self.now_ms += 1_000
        self.end("paid", "commit")
        self.end("unpaid", "rollback")
        self.pass_time(10_000)
        self.pass_time(10_000)
        self.history.keep("tiny", self._log, self.now_ms)
        self.history.ended_ms = self.now_ms
        return self.history


class ShowsHalves(TinyBroker):
    """It shows half a transaction at once."""

    kind = "visible before commit"
    says = r"reader board saw message paid .* at 10000 ms, before it was committed"

    def may_show(self, sent: Sent) -> bool:
        return (sent.is_half and not sent.decision) or super().may_show(sent)


class TakesRollbackForCommit(TinyBroker):
    """It shows whatever has been decided."""

    kind = "resurrected after rollback"
    says = r"reader board saw message unpaid .* at 21000 ms, and it was rolled back at 11000 ms"

    def may_show(self, sent: Sent) -> bool:
        return sent.decision == "rollback" or super().may_show(sent)


class HasAFastClock(TinyBroker):
    """Its clock is ten seconds ahead."""

    kind = "early"
    says = r"reader board saw message later .* at 21000 ms, 4000 ms before its time"

    def may_show(self, sent: Sent) -> bool:
        due_ms = sent.not_before_ms
        return (due_ms is not None and due_ms <= self.now_ms + 10_000) or super().may_show(sent)


TINY_MISTAKES = (ShowsHalves, TakesRollbackForCommit, HasAFastClock)


# ---------------------------------------------------------------- a copy that is none


@mistake("pair-async seed=1 calm", "diverged", r"flights/a/\d @\d+ is c-\d+ on a and c-\d+ on as")
def slave_mixes_up_two_records(broker: Broker) -> None:
    if broker.is_master:
        return
    store = broker.part(MessageStore)
    really_append = store.append_raw

    def append_raw(physical_offset: int, data: bytes) -> None:
        # No checksum covers the properties of a record.
        really_append(physical_offset, re.sub(rb"(UNIQ_KEY.c-000)1", rb"\g<1>2", data))

    instead(store, "append_raw", append_raw)


@mistake("pair-sync seed=1", "lost", r"lies on no disk \(looked at: a, as\)")
def does_not_wait_for_its_slave(broker: Broker) -> None:
    store = broker.part(MessageStore)
    *others, wait = store.acknowledgers

    def acknowledge(result: AppendResult) -> None:
        wait(result)  # its slave is sent the bytes all the same

    store.acknowledgers[:] = [*others, acknowledge]
