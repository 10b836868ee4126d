"""I2.4: the log is the one truth: what append says of a message is what a reader of the log would say.

And the checkpoint, which may never say more than is durable.
"""

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chapters.ch02_commitlog.stores import BORN_HOST, STORE_HOST, Bench, Notes, inner, spoil, whole_file
from mq.commitlog.checkpoint import Checkpoint
from mq.commitlog.config import MessageStoreConfig
from mq.commitlog.hosts import encode_host
from mq.commitlog.message import MessageIllegal
from mq.commitlog.put import AppendResult, DispatchRequest, InnerMessage, PutStatus, request_of
from mq.runtime.errors import SettingsError
from mq.runtime.settings import fill
from mq.sim.faults import FailingDisk
from mq.sim.simulation import Simulation

V6 = encode_host("[2001:db8::1]:40000")
TEXTS = st.lists(
    st.tuples(
        st.sampled_from(["KEYS", "TAGS", "UNIQ_KEY", "CLUSTER", "gate", ""]), st.text("aé中 \x01", max_size=6)
    ),
    max_size=5,
).map(lambda pairs: "\x02".join(f"{name}\x01{value}" for name, value in pairs))
PARTS = st.tuples(st.integers(-5, 5), st.binary(max_size=700), TEXTS)
HOSTS = st.tuples(st.sampled_from([BORN_HOST, V6]), st.sampled_from([STORE_HOST, V6]))
SYS_FLAGS = st.sampled_from([0, 1, 4, 8, 12, 0x10, 0x20, 0x30, 0x130, -1])


@st.composite
def messages(draw: st.DrawFn) -> InnerMessage:
    """Single messages and batches, of three queues, with hosts of both kinds and whatever sys flag."""
    topic, queue_id = draw(st.sampled_from([("flights", 0), ("flights", 1), ("gates", 0)]))
    parts = draw(st.one_of(st.none(), st.lists(PARTS, min_size=1, max_size=4)))
    flag, body, text = draw(PARTS) if parts is None else (0, b"", "")
    sys_flag, hosts = draw(SYS_FLAGS), draw(HOSTS)
    return inner(body, topic, queue_id, text, parts=parts, sys_flag=sys_flag, hosts=hosts, flag=flag)


@given(st.lists(st.lists(messages(), min_size=1, max_size=5), min_size=1, max_size=4))
@settings(max_examples=60)
def test_what_append_tells_derived_stores_is_what_a_reader_of_the_log_would_tell_them(
    reads: list[list[InnerMessage]],
) -> None:
    """I2.4, for every field, over segments that roll. After a death queue offsets count on from the log."""
    with Simulation() as sim:
        bench, notes = Bench(sim), Notes()
        store = bench.open(notes)
        for read in reads:
            assert {result.status for result in bench.put(*read)} == {PutStatus.PUT_OK}
        told = [request.as_tuple() for request in notes.requests]
        assert told == [request_of(message).as_tuple() for message in bench.messages()]
        assert store.reput.dispatched_to == store.log.end
        again = Notes()
        before = {
            queue: store.next_queue_offset(*queue) for queue in [("flights", 0), ("flights", 1), ("gates", 0)]
        }
        store = bench.reborn("process", again)
        assert [request.as_tuple() for request in again.requests] == told
        assert {queue: store.next_queue_offset(*queue) for queue in before} == before


def test_queue_offsets_count_by_queue_and_by_the_messages_of_a_batch() -> None:
    with Simulation() as sim:
        bench = Bench(sim)
        bench.open()
        batch = inner(parts=[(0, b"a", ""), (0, b"b", ""), (0, b"c", "")])
        found = [
            bench.put(message)[0].queue_offset for message in (inner(), batch, inner(), inner(queue_id=1))
        ]
        assert found == [0, 1, 4, 0]
        assert [message.queue_offset for message in bench.messages()] == [0, 1, 2, 3, 4, 0]


def test_prepared_and_rolled_back_messages_take_no_place_in_their_queue() -> None:
    """Nor after a restart, when the log is read for the queues' ends."""
    with Simulation() as sim:
        bench = Bench(sim)
        bench.open()
        for sys_flag in (0, 4, 0, 12, 8, 12):
            bench.put(inner(sys_flag=sys_flag))
        assert [message.queue_offset for message in bench.messages()] == [0, 0, 1, 0, 2, 0]
        bench.reborn()
        assert bench.put(inner())[0].queue_offset == 3


def test_a_hook_sees_every_put_and_its_refusal_is_the_answer() -> None:
    with Simulation() as sim:
        bench, seen = Bench(sim), []
        store = bench.open()

        def hook(message: InnerMessage) -> PutStatus | None:
            seen.append(message.body)
            return PutStatus.MESSAGE_ILLEGAL if message.body == b"no" else None

        store.put_message_hooks.append(hook)
        statuses = [result.status for result in bench.put(inner(b"yes"), inner(b"no"), inner(b"yes"))]
        assert seen == [b"yes", b"no", b"yes"]
        assert sorted(status.name for status in statuses) == ["MESSAGE_ILLEGAL", "PUT_OK", "PUT_OK"]
        assert bench.bodies() == [b"yes", b"yes"]


def test_nothing_beyond_a_confirmed_offset_is_dispatched() -> None:
    with Simulation() as sim:
        bench, notes, confirmed = Bench(sim), Notes(), [0]
        store = bench.open(notes)
        store.confirm_offsets.append(lambda: confirmed[0])
        first, second, third = [bench.put(inner(body))[0] for body in (b"1", b"2", b"3")]
        assert notes.requests == []
        for confirmed[0], expected in (
            (first.size - 1, []),
            (second.physical_offset + 5, [first]),
            (10**9, [first, second, third]),
        ):
            store.reput.follow()
            assert [each.physical_offset for each in notes.requests] == [
                each.physical_offset for each in expected
            ]


@pytest.mark.parametrize(
    ("message", "status", "remark"),
    [
        (inner(topic="t" * 128), PutStatus.MESSAGE_ILLEGAL, "the topic is longer than 127 bytes"),
        (
            inner(bytes((4 << 20) + 1)),
            PutStatus.MESSAGE_ILLEGAL,
            "a body of 4194305 bytes; at most 4194304 are stored",
        ),
        (
            inner(text="x" * 32_768),
            PutStatus.PROPERTIES_SIZE_EXCEEDED,
            "properties of 32768 bytes; at most 32767 are stored",
        ),
        (inner(parts=[]), PutStatus.MESSAGE_ILLEGAL, "a batch without messages"),
        (inner(bytes(8192)), PutStatus.MESSAGE_ILLEGAL, "the message does not fit into one segment"),
    ],
    ids=["topic", "body", "properties", "batch", "segment"],
)
def test_a_message_that_no_record_can_hold_is_refused(
    message: InnerMessage, status: PutStatus, remark: str
) -> None:
    with Simulation() as sim:
        bench = Bench(sim)
        bench.open()
        (result,) = bench.put(message)
        assert (result.status, result.remark) == (status, remark)
        assert bench.store.log.end == 0


def test_the_largest_message_that_is_taken_survives_a_restart() -> None:
    """With a larger maxMessageSize than RocketMQ's default: recovery must not take it for garbage."""
    with Simulation() as sim:
        bench = Bench(sim, mappedFileSizeCommitLog=str(32 << 20), maxMessageSize=str(16 << 20))
        bench.open()
        assert bench.put(inner(bytes(16 << 20), text="k\x01" + "v" * 32_000))[0].status is PutStatus.PUT_OK
        bench.reborn()
        assert [message.size for message in bench.messages()] == [91 + len("flights") + (16 << 20) + 32_002]


@pytest.mark.parametrize(
    "properties", [{"maxMessageSize": str((16 << 20) + 1)}, {"mappedFileSizeCommitLog": "100"}]
)
def test_settings_that_would_lose_messages_are_refused(properties: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="it must be"):
        fill(MessageStoreConfig, properties)


def test_a_store_that_is_not_open_takes_nothing() -> None:
    with Simulation() as sim:
        bench = Bench(sim)
        bench.open()
        bench.put(inner(b"x"))
        bench.close()
        result: list[AppendResult] = []
        bench.store.put(inner(b"y"), result.append)
        assert (result[0].status, result[0].remark) == (
            PutStatus.SERVICE_NOT_AVAILABLE,
            "the store is closing",
        )


# ---------------------------------------------------------------- looking something up


def test_a_record_is_found_at_its_place_and_nowhere_else() -> None:
    with Simulation() as sim:
        bench = Bench(sim)
        store = bench.open()
        first, second = bench.put(inner(b"first"), inner(b"second"))
        assert store.size_at(0) == first.size
        found = store.record_at(second.physical_offset, second.size)
        assert found is not None and found.body == b"second"
        assert store.store_time_at(0, first.size) == bench.node.wall_ms()
        for place in (-1, 1, 7, second.physical_offset - 1, store.log.end, 10**15, (1 << 63) - 1):
            assert store.record_at(place, max(store.size_at(place), 100)) is None
            assert store.store_time_at(place, 100) == -1


def test_a_record_inside_a_message_s_body_is_not_taken_for_one() -> None:
    """Its bytes are right, but it says that it lies elsewhere; and a size of gigabytes is not even read."""
    with Simulation() as sim:
        bench = Bench(sim)
        store = bench.open()
        bench.put(inner(b"first"))
        forged = store.read(0, store.size_at(0))
        bench.put(inner(b"\x7f\xff\xff\xff" + forged))
        place = bench.messages()[1].physical_offset + 88
        assert store.size_at(place) == 0
        assert store.size_at(place + 4) == len(forged)
        assert store.record_at(place + 4, len(forged)) is None


# ---------------------------------------------------------------- the checkpoint


def times(bench: Bench) -> tuple[int, int, int]:
    """Physic, logics and index as they lie on the disk, in ms after the machine's first moment."""
    found = struct.unpack(">qqq", whole_file(bench.node.disk, "checkpoint")[:24])
    began = bench.node.wall_ms() - int(bench.sim.loop.time() * 1000)
    return tuple(max(each - began, -1) for each in found)


def test_the_checkpoint_moves_each_minute_and_only_as_far_as_everything_is_durable() -> None:
    with Simulation() as sim:
        bench, notes = Bench(sim), Notes()
        bench.open(notes)
        bench.wait(20)
        bench.put(inner(b"x"))
        began = bench.node.wall_ms() - int(sim.loop.time() * 1000)
        notes.durable_ms = began + 7_000  # a queue that is still behind
        bench.wait(39)
        assert not bench.node.disk.exists("checkpoint")
        bench.wait(3)
        assert times(bench) == (20_000, 7_000, 20_000)
        assert notes.flushes.count(True) == 1 and notes.flushes.count(False) >= 38
        assert len(whole_file(bench.node.disk, "checkpoint")) == 4096


def test_the_checkpoint_is_preceded_by_a_sync_of_the_log() -> None:
    """What came after the last timed flush is synced for it, so that the checkpoint need not stay behind."""
    with Simulation() as sim:
        bench, notes = Bench(sim), Notes()
        bench.open(notes)
        for second in (55, 59.3):
            bench.wait(second - sim.loop.time())
            bench.put(inner(b"x"))
        notes.durable_ms = bench.node.wall_ms()
        bench.wait(0.6)
        assert bench.log_syncs() == 1, "the second message is too little and too young for a timed flush"
        bench.wait(1.5)
        assert (bench.log_syncs(), times(bench)[0]) == (2, 59_300)


def test_the_checkpoint_does_not_pass_a_sync_that_failed() -> None:
    """The sync that the checkpoint asks for is the one that fails: what came before it is still safe."""
    with Simulation() as sim:
        sim.wrap_disk("broker", lambda node, disk: FailingDisk(node, disk, "sync", nth=2))
        bench, notes = Bench(sim), Notes()
        bench.open(notes)
        for second in (55, 59.3):
            bench.wait(second - sim.loop.time())
            bench.put(inner(b"x"))
        notes.durable_ms = bench.node.wall_ms()
        bench.wait(100)
        assert bench.store.refusal
        assert times(bench)[0] == 55_000


def test_housekeeping_sleeps_when_everything_is_durable() -> None:
    with Simulation() as sim:
        bench, notes = Bench(sim), Notes()
        bench.open(notes)
        bench.put(inner(b"x"))
        bench.wait(62)
        before = len(notes.flushes)
        bench.wait(600)
        assert len(notes.flushes) == before
        notes.durable_ms = None
        bench.put(inner(b"y"))
        bench.wait(200)
        assert len(notes.flushes) > before + 190, "something was left each time"


def test_a_clean_end_writes_the_checkpoint_and_the_next_start_dispatches_nothing_again() -> None:
    with Simulation() as sim:
        bench, notes = Bench(sim), Notes()
        bench.open(notes)
        bench.wait(5)
        (last,) = bench.put(inner(b"x"))
        notes.durable_ms = bench.node.wall_ms()
        bench.close()
        assert times(bench) == (5_000, 5_000, 5_000)
        assert not bench.node.disk.exists("abort")
        again = Notes()
        again.needs_from = last.size
        bench.open(again)
        assert again.requests == [] and bench.store.dispatch_from == last.size
        assert bench.node.disk.exists("abort")


def test_after_a_clean_end_what_a_derived_store_lacks_is_dispatched_from_where_it_says() -> None:
    with Simulation() as sim:
        bench = Bench(sim)
        bench.open(Notes())
        placed = [bench.put(inner(b"%d" % number))[0].physical_offset for number in range(5)]
        bench.close()
        again = Notes()
        again.needs_from = placed[3]
        bench.open(again)
        assert [request.physical_offset for request in again.requests] == placed[3:]


def test_after_an_unclean_end_dispatch_begins_where_the_checkpoint_and_the_neediest_store_say() -> None:
    """Records of four segments, a minute apart; the checkpoint covers the first three. Three seconds back."""
    with Simulation() as sim:
        bench = Bench(sim)
        bench.open(notes := Notes())
        placed = []
        for _ in range(4):
            placed.append(bench.put(inner(bytes(7900)))[0].physical_offset)
            bench.wait(60)
        assert placed == [0, 8192, 16384, 24576]
        spoil(
            bench.node.disk,
            "checkpoint",
            0,
            struct.pack(">qqq", *[bench.messages()[2].store_timestamp_ms] * 3),
        )
        for needs_from, expected in ((placed[3], placed[1:]), (placed[1], placed[1:]), (0, placed)):
            notes = Notes()
            notes.needs_from = needs_from
            bench.reborn("process", notes)
            assert [request.physical_offset for request in notes.requests] == expected


def test_the_earliest_of_the_three_times_counts_and_three_seconds_are_stepped_back() -> None:
    with Simulation() as sim:
        checkpoint = Checkpoint(sim.node("broker").disk)
        checkpoint.load()
        assert checkpoint.safe_timestamp_ms() == 0, "no file: nothing is known to be safe"
        checkpoint.times = {"physic": 50_000, "logics": 40_000, "index": 30_000}
        assert (checkpoint.safe_timestamp_ms(), checkpoint.safe_timestamp_ms(index_counts=False)) == (
            27_000,
            37_000,
        )
        sim.run(sim.on("broker", checkpoint.write()))
        again = Checkpoint(sim.node("broker").disk)
        again.load()
        assert again.times == checkpoint.times
        spoil(sim.node("broker").disk, "short", 0, b"1234")
        again.path = "short"
        again.times = {"physic": 0, "logics": 0, "index": 0}
        again.load()
        assert again.safe_timestamp_ms() == 0


@pytest.mark.parametrize("address", ["", "localhost:1", "1.2.3.4", "1.2.3.4:x", "1.2.3.4:-1", "1.2.3:5"])
def test_a_host_that_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(MessageIllegal, match="is not an IP address with a port"):
        encode_host(address)


class Stumbling(Notes):
    """A derived store that raises while it is told to."""

    stumbles = False

    def dispatch(self, requests: Sequence[DispatchRequest]) -> None:
        if self.stumbles:
            raise ValueError("not today")
        super().dispatch(requests)


def test_a_derived_store_that_raises_costs_no_sender_its_answer_and_is_told_again() -> None:
    """The real broker's reput thread logs the error, and tries the same record again."""
    with Simulation() as sim:
        bench, notes = Bench(sim), Stumbling()
        store = bench.open(notes)
        bench.put(inner(b"0"))
        notes.stumbles = True
        for number in range(1, 4):
            found = bench.put(inner(b"%d" % number), inner(b"%d+" % number))
            assert [result.status for result in found] == [PutStatus.PUT_OK] * 2
        complaints = [event.text() for event in sim.events if event.kind == "dispatch failed"]
        assert len(complaints) == 1, "one line, however many writes stumble"
        assert "ValueError: not today" in complaints[0]
        notes.stumbles = False
        bench.put(inner(b"4"))
        assert [request.physical_offset for request in notes.requests] == [
            message.physical_offset for message in bench.messages()
        ]
        assert store.reput.dispatched_to == store.log.end


def test_a_derived_store_that_raises_does_not_stop_the_copying_of_another_log() -> None:
    with Simulation() as sim:
        bench = Bench(sim)
        master = bench.open()
        bench.put(inner(b"0"), inner(b"1"))
        data, end = master.read(0, master.log.end), master.log.end
    with Simulation() as sim:
        bench, notes = Bench(sim), Stumbling()
        store = bench.open(notes)
        notes.stumbles = True
        half = int.from_bytes(data[:4], "big")
        store.append_raw(0, data[:half])
        assert store.max_physical_offset == half and notes.requests == []
        notes.stumbles = False
        store.append_raw(half, data[half:])
        assert len(notes.requests) == 2 and store.reput.dispatched_to == end
