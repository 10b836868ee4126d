"""The HA protocol's bytes, and what the two ends decide: plain objects, no network, no clock."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mq.commitlog.put import PutStatus
from mq.replication.config import HaConfig
from mq.replication.grouptransfer import GroupTransfer
from mq.replication.haclient import HAClient
from mq.replication.haconnection import HAConnection, Outgoing
from mq.replication.protocol import (
    MAX_PUSH_BYTES,
    HAError,
    PushReader,
    ReportReader,
    encode_push,
    encode_report,
)
from mq.runtime.errors import SettingsError
from mq.runtime.settings import fill

CONFIG = HaConfig()
SEGMENT = 1_000


class Log:
    """A log in memory: the master's, or one that grows."""

    def __init__(self, length: int = 0, begin: int = 0) -> None:
        self.begin = begin
        self.data = bytes(number % 251 for number in range(begin, begin + length))

    @property
    def min_physical_offset(self) -> int:
        return self.begin

    @property
    def max_physical_offset(self) -> int:
        return self.begin + len(self.data)

    def read(self, physical_offset: int, size: int) -> bytes:
        at = physical_offset - self.begin
        room = SEGMENT - physical_offset % SEGMENT  # never across a segment's end
        return self.data[at : at + min(size, room)] if at >= 0 else b""

    def append_raw(self, physical_offset: int, data: bytes) -> None:
        if not self.data:
            self.begin = physical_offset
        assert physical_offset == self.max_physical_offset
        self.data += data


def joined(log: Log, reported: int, config: HaConfig = CONFIG) -> HAConnection:
    """A slave that has reported once."""
    connection = HAConnection(Outgoing(log, SEGMENT), config, 0)
    connection.reported(reported, 0)
    return connection


def pushes_of(connection: HAConnection, now_ms: float = 0) -> list[tuple[int, bytes]]:
    """Everything that the slave is sent now."""
    reader, found = PushReader(), []
    while data := connection.next_push(now_ms):
        found += list(reader.feed(data))
        assert len(found) < 1_000, f"it is sent the same again and again: {found[-1]}"
    return found


# ---------------------------------------------------------------- bytes


def test_the_bytes_are_those_of_the_real_protocol() -> None:
    """Written down from RocketMQ's source: a report is a long; a push a long, an int, and the bytes."""
    assert encode_report(0x1234_5678) == bytes.fromhex("0000000012345678")
    assert encode_push(1 << 30, b"log") == bytes.fromhex("0000000040000000 00000003") + b"log"
    assert encode_push(7) == bytes.fromhex("0000000000000007 00000000"), "a heartbeat is a push of nothing"


@given(st.lists(st.binary(max_size=60), max_size=12), st.integers(0, 1 << 32))
def test_pushes_are_the_same_however_the_stream_is_cut(bodies: list[bytes], seed: int) -> None:
    sent = [(number * 1_000, body) for number, body in enumerate(bodies)]
    stream = b"".join(encode_push(place, body) for place, body in sent)
    reader, found, draw = PushReader(), [], random.Random(seed)
    while stream:
        piece = stream[: draw.randint(1, 30)]
        stream = stream[len(piece) :]
        found += list(reader.feed(piece))
    assert found == sent


@given(st.lists(st.integers(0, (1 << 63) - 1), min_size=1, max_size=20), st.integers(0, 1 << 32))
def test_of_the_reports_that_have_come_the_newest_whole_one_counts(ends: list[int], seed: int) -> None:
    stream = b"".join(encode_report(end) for end in ends)
    reader, draw, read = ReportReader(), random.Random(seed), 0
    while read < len(stream):
        piece = stream[read : read + draw.randint(1, 20)]
        whole_before, read = read // 8, read + len(piece)
        newest = reader.feed(piece)
        assert newest == (ends[read // 8 - 1] if read // 8 > whole_before else None)


@pytest.mark.parametrize(
    "head", ["ffffffffffffffff00000001", "0000000000000000ffffffff", "00" * 8 + "7fffffff"]
)
def test_a_push_that_cannot_be_ends_the_connection_before_its_bytes_are_waited_for(head: str) -> None:
    with pytest.raises(HAError, match="cannot be"):
        PushReader().feed(bytes.fromhex(head))


def test_settings_with_which_no_connection_could_stand_are_refused() -> None:
    with pytest.raises(SettingsError, match="a healthy connection is closed"):
        fill(HaConfig, {"haHousekeepingInterval": "5000"})
    with pytest.raises(SettingsError, match="must be at least 1"):
        fill(HaConfig, {"haTransferBatchSize": "0"})
    largest = str(MAX_PUSH_BYTES)
    assert fill(HaConfig, {"haTransferBatchSize": largest}).ha_transfer_batch_size == MAX_PUSH_BYTES
    with pytest.raises(SettingsError, match="or no slave can take it"):
        fill(HaConfig, {"haTransferBatchSize": str(MAX_PUSH_BYTES + 1)})


# ---------------------------------------------------------------- the master's end


def test_the_slave_has_the_first_word() -> None:
    connection = HAConnection(Outgoing(Log(500), SEGMENT), CONFIG, 0)
    assert connection.next_push(9_999) == b"", "not even a heartbeat: nobody knows what it is"
    assert connection.due_ms == 20_000


def test_a_slave_with_something_is_sent_the_bytes_from_there_on() -> None:
    log = Log(900)
    assert pushes_of(joined(log, 300)) == [(300, log.data[300:])]


@pytest.mark.parametrize(("length", "begin"), [(0, 0), (999, 0), (1_000, 1_000), (2_500, 2_000)])
def test_a_slave_with_nothing_begins_at_the_masters_last_segment(length: int, begin: int) -> None:
    """I4.4: what lies in older segments is not copied."""
    connection = joined(Log(length), 0)
    assert connection.next_offset == begin
    assert b"".join(body for _, body in pushes_of(connection)) == Log(length).data[begin:]


def test_a_push_holds_32_kib_at_most_and_never_bytes_of_two_segments() -> None:
    log = Log(2_500)
    small = fill(HaConfig, {"haTransferBatchSize": "700"})
    sizes = [(place, len(body)) for place, body in pushes_of(joined(log, 100, small))]
    assert sizes == [(100, 700), (800, 200), (1_000, 700), (1_700, 300), (2_000, 500)]
    assert CONFIG.ha_transfer_batch_size == 32_768


def test_after_five_seconds_without_a_push_there_is_a_heartbeat() -> None:
    connection = joined(Log(10), 10)
    assert connection.next_push(4_999) == b""
    assert connection.next_push(5_000) == encode_push(10)
    assert connection.next_push(5_001) == b"" and connection.due_ms == 10_000


def test_a_slave_that_says_nothing_for_twenty_seconds_is_gone() -> None:
    connection = joined(Log(10), 10)
    connection.check(19_999)
    with pytest.raises(HAError, match="silent for 20 s"):
        connection.check(20_000)
    connection.reported(10, 20_000)
    connection.check(39_999)


def test_a_report_beyond_all_that_was_ever_here_is_not_believed() -> None:
    """I4.3: also the first one, and also when the log has grown past it meanwhile."""
    log = Log(900)
    outgoing = Outgoing(log, SEGMENT)
    connection = HAConnection(outgoing, CONFIG, 0)
    with pytest.raises(HAError, match="it is ahead, and its end comes from another past"):
        connection.reported(901, 0)
    log.data += bytes(500)
    with pytest.raises(HAError, match="no more than 900 was ever here to be copied"):
        HAConnection(outgoing, CONFIG, 0).reported(901, 0)
    other = HAConnection(outgoing, CONFIG, 0)
    other.reported(900, 0)
    pushes_of(other)
    HAConnection(outgoing, CONFIG, 0).reported(1_400, 0)  # this was sent, so somebody may have it
    for impossible in (-1, 1_401):
        with pytest.raises(HAError, match="it is ahead"):
            other.reported(impossible, 0)


def test_a_slave_that_needs_what_is_deleted_is_told_so() -> None:
    with pytest.raises(HAError, match="what came then is gone: the log begins at 3000"):
        joined(Log(500, begin=3_000), 2_999)


# ---------------------------------------------------------------- the slave's end


def test_a_slave_reports_at_once_then_when_it_has_grown_then_each_five_seconds() -> None:
    log = Log(40)
    client = HAClient(log, CONFIG, 0)
    assert client.report(0) == encode_report(40)
    assert client.report(4_999) == b""
    assert client.received(encode_push(40, b"abc"), 4_999) == encode_report(43)
    assert client.received(encode_push(43), 6_000) == b"", "a heartbeat needs no answer"
    assert client.report(9_999) == encode_report(43)


def test_several_pushes_of_one_read_are_reported_once() -> None:
    client = HAClient(log := Log(), CONFIG, 0)
    assert client.received(encode_push(0, b"ab") + encode_push(2, b"c"), 1) == encode_report(3)
    assert log.data == b"abc"


@pytest.mark.parametrize("place", [39, 41, 0])
def test_a_slave_takes_no_bytes_for_another_place_than_its_end(place: int) -> None:
    """I4.1."""
    client = HAClient(log := Log(40), CONFIG, 0)
    with pytest.raises(HAError, match=f"pushed bytes for {place}; our log ends at 40"):
        client.received(encode_push(place, b"x"), 0)
    assert log.data == Log(40).data


def test_a_heartbeat_for_another_place_ends_the_connection_too() -> None:
    with pytest.raises(HAError, match="our log ends at 40"):
        HAClient(Log(40), CONFIG, 0).received(encode_push(50), 0)


def test_a_slave_notices_that_its_master_is_silent_although_it_reports_itself() -> None:
    client = HAClient(Log(40), CONFIG, 0)
    for now_ms in (0, 5_000, 10_000, 15_000):
        assert client.report(now_ms)
    with pytest.raises(HAError, match="silent for 20 s"):
        client.check(20_000)


@given(st.integers(0, 3_500), st.integers(0, 1 << 32))
def test_whatever_breaks_the_connection_the_copy_is_a_piece_of_the_original(length: int, seed: int) -> None:
    """I4.1: connections that end anywhere in the stream, and a master that goes on writing."""
    master, copy, draw = Log(length), Log(), random.Random(seed)
    outgoing = Outgoing(master, SEGMENT)
    first = length - length % SEGMENT
    for _ in range(12):
        client, connection = HAClient(copy, CONFIG, 0), HAConnection(outgoing, CONFIG, 0)
        (end,) = [ReportReader().feed(client.report(0))]
        assert end is not None
        connection.reported(end, 0)
        stream = b"".join(encode_push(*each) for each in pushes_of(connection))
        client.received(stream[: draw.randint(0, len(stream))], 0)
        master.data += draw.randbytes(draw.randint(0, 300))
        begin = copy.begin if copy.data else first
        assert copy.data == master.data[begin : begin + len(copy.data)]
        assert not copy.data or begin % SEGMENT == 0


# ---------------------------------------------------------------- who waits


def test_a_send_waits_for_one_slave_to_report_its_end() -> None:
    """I4.2."""
    transfer, told = GroupTransfer(CONFIG), list[tuple[int, PutStatus]]()
    for end in (100, 200, 300):
        transfer.wait(end, 0).told.append(lambda status, end=end: told.append((end, status)))  # type: ignore[misc]
    transfer.acked(199)
    assert told == [(100, PutStatus.PUT_OK)]
    transfer.acked(150)
    assert transfer.acked_to == 199, "what was reported once stays reported"
    transfer.acked(300)
    assert told[1:] == [(200, PutStatus.PUT_OK), (300, PutStatus.PUT_OK)]


def test_a_send_that_has_waited_three_seconds_is_told_so() -> None:
    transfer, told = GroupTransfer(CONFIG), list[PutStatus]()
    transfer.wait(100, 1_000).told.append(told.append)
    transfer.wait(200, 1_500).told.append(told.append)
    assert transfer.due_ms == 4_000
    transfer.expire(3_999)
    assert not told
    transfer.expire(4_000)
    assert told == [PutStatus.FLUSH_SLAVE_TIMEOUT] and transfer.due_ms == 4_500
    transfer.acked(200)
    assert told[1:] == [PutStatus.PUT_OK] and transfer.due_ms is None


def test_sends_of_one_write_share_one_answer() -> None:
    transfer = GroupTransfer(CONFIG)
    assert transfer.wait(100, 0) is transfer.wait(100, 1_000) is not transfer.wait(101, 1_000)
    assert transfer.due_ms == 3_000, "whoever joins later does not make the first wait longer"


def test_nobody_waits_without_a_slave_or_for_one_that_is_far_behind() -> None:
    transfer = GroupTransfer(CONFIG)
    assert not transfer.is_slave_ok(1)
    transfer.slaves = 1
    assert transfer.is_slave_ok((256 << 20) - 1)
    assert not transfer.is_slave_ok(256 << 20)
    transfer.acked(1)
    assert transfer.is_slave_ok(256 << 20)
