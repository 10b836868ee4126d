"""I2.1 to I2.5: what the CommitLog promises. Here: the record; the other files name theirs.

* I2.1 Kept: what was acknowledged under SYNC_FLUSH is in the log after any death; under ASYNC_FLUSH after the
  death of the process (test_flush.py, test_restart.py).
* I2.2 Whole: after recovery the log is a beginning of what was appended, record by record, and nothing lies
  behind its end (test_log.py).
* I2.3 In place: a record lies in one segment, at the position that it names (here and test_log.py).
* I2.4 One truth: queue offsets and dispatch requests are what a reader of the log would make of it
  (test_store.py, test_restart.py).
* I2.5 All or nothing: a failed write changes nothing, and after a failed sync nothing is written any more
  (test_flush.py).
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chapters.ch02_commitlog.stores import (
    REAL_RECORD,
    REAL_RECORD_AT,
    changes_noticed,
    fields_of,
    noticed_table,
)
from mq.commitlog.hosts import decode_host, decode_message_id, encode_host, offset_message_id
from mq.commitlog.javahash import java_hash
from mq.commitlog.message import (
    Message,
    MessageIllegal,
    decode_properties,
    encode_properties,
)
from mq.commitlog.record import (
    MessageExt,
    RecordError,
    body_crc,
    decode_record,
    decode_records,
    encode_record,
    encoded_size,
)
from mq.sim.simulation import Simulation
from tests.wire_rig import captures

INT32 = st.integers(-(1 << 31), (1 << 31) - 1)
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
PORTS = st.integers(0, 65_535)
IPV4 = st.builds(lambda ip, port: f"{ip}:{port}", st.ip_addresses(v=4), PORTS)
IPV6 = st.builds(lambda ip, port: f"[{ip}]:{port}", st.ip_addresses(v=6), PORTS)
HOSTS = st.one_of(IPV4, IPV6)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def test_a_record_is_byte_for_byte_what_rocketmq_s_own_encoder_writes() -> None:
    """I2.3: RocketMQ's MessageDecoder made these 115 bytes."""
    ours = encode_record(
        b"T", b"hello", encode_properties({"KEYS": "k1", "TAGS": "TagA"}).encode(), 1, 2, REAL_RECORD_AT, 0,
        0,
        1_700_000_000_000, encode_host("127.0.0.1:12345"), 1_700_000_000_001, encode_host("127.0.0.1:10911"),
    )  # fmt: skip
    assert ours.hex() == REAL_RECORD.hex()
    assert fields_of(ours)[-1].end == len(ours) == 115


def test_the_real_record_reads_as_the_message_that_was_sent() -> None:
    message = decode_record(REAL_RECORD)
    assert (message.topic, message.body, message.queue_id, message.queue_offset) == ("T", b"hello", 1, 2)
    assert (message.tags, message.keys, message.physical_offset) == ("TagA", ["k1"], REAL_RECORD_AT)
    assert (message.born_host, message.store_host) == ("127.0.0.1:12345", "127.0.0.1:10911")
    assert (message.born_timestamp_ms, message.store_timestamp_ms) == (1_700_000_000_000, 1_700_000_000_001)
    assert message.msg_id == "7F00000100002A9F0000000000000064"


def test_the_records_that_a_real_broker_sent_to_its_consumers_are_read_whole() -> None:
    """The bodies of its answers to pulls are records as they lie in its log."""
    bodies = [
        capture.body
        for capture in captures()
        if capture.what.startswith("RESP to PULL") and capture.body and capture.body_is_known
    ]
    messages = [message for body in bodies for message in decode_records(body)]
    assert [message.physical_offset for message in messages] == [0, 348, 1706]
    for message in messages:
        assert message.properties["CLUSTER"] == "DefaultCluster" and "WAIT" not in message.properties
        assert not message.properties_text.endswith("\x02"), (
            "4.9.8 stores no separator behind the last property"
        )
        assert body_crc(message.body) == message.body_crc


@pytest.mark.parametrize(
    ("text", "code"), [("TagA", 2598919), ("TagB", 2598920), ("*", 42), ("中", 20013), ("T#k1", 2539445)]
)
def test_the_hash_of_a_tag_or_key_is_java_s(text: str, code: int) -> None:
    assert java_hash(text) == code


def test_a_checksum_has_no_sign_bit_and_that_of_nothing_is_zero() -> None:
    assert (body_crc(b"hello"), body_crc(b"")) == (907060870, 0)


def test_an_offset_message_id_says_which_broker_and_where() -> None:
    message_id = offset_message_id(encode_host("127.0.0.1:10911"), 100)
    assert message_id == "7F00000100002A9F0000000000000064"
    assert decode_message_id(message_id) == ("127.0.0.1:10911", 100)
    long_id = offset_message_id(encode_host("[2001:db8::7]:10911"), 1 << 40)
    assert (len(long_id), decode_message_id(long_id)) == (56, ("[2001:db8::7]:10911", 1 << 40))


@pytest.mark.parametrize(
    "message_id", ["", "7F", "7F00000100002A9F00000000000000", "no hex at all, not even by chance"]
)
def test_a_text_that_is_no_message_id_is_a_value_error(message_id: str) -> None:
    with pytest.raises(ValueError):
        decode_message_id(message_id)


@given(HOSTS)
def test_a_host_comes_back_from_its_bytes(address: str) -> None:
    packed = encode_host(address)
    assert len(packed) == (20 if address.startswith("[") else 8)
    assert encode_host(decode_host(packed)) == packed


@given(
    topic=st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    body=st.binary(max_size=200),
    properties=TEXT,
    numbers=st.tuples(INT32, INT64, INT64, INT32, INT32, INT64, INT64, INT32, INT64),
    born=HOSTS,
    store=HOSTS,
    before=st.binary(max_size=20),
)
def test_every_record_comes_back_as_it_was(
    topic: str,
    body: bytes,
    properties: str,
    numbers: tuple[int, ...],
    born: str,
    store: str,
    before: bytes,
) -> None:
    """I2.3, with hosts of both kinds, at any place in a buffer, and with whatever sys flag was sent."""
    queue_id, queue_offset, place, flag, sys_flag, born_ms, store_ms, times, prepared = numbers
    packed = encode_host(born), encode_host(store)
    data = encode_record(
        topic.encode(), body, properties.encode(), queue_id, queue_offset, place, flag, sys_flag, born_ms,
        packed[0], store_ms, packed[1], times, prepared,
    )  # fmt: skip
    assert len(data) == encoded_size(topic.encode(), body, properties.encode(), *packed)
    found = decode_record(before + data + before, len(before))
    assert (found.topic, found.body, found.properties_text) == (topic, body, properties)
    told = (
        found.queue_id, found.queue_offset, found.physical_offset, found.flag, found.born_timestamp_ms,
        found.store_timestamp_ms, found.reconsume_times, found.prepared_transaction_offset,
    )  # fmt: skip
    assert told == (queue_id, queue_offset, place, flag, born_ms, store_ms, times, prepared)
    assert (encode_host(found.born_host), encode_host(found.store_host)) == packed
    assert found.sys_flag & ~0x30 == sys_flag & ~0x30
    assert found.size == len(data)


@given(st.binary(max_size=300), st.integers(0, 320))
def test_bytes_that_are_no_record_are_refused_and_nothing_worse(data: bytes, position: int) -> None:
    with pytest.raises(RecordError):
        decode_record(data, position)


@given(
    st.lists(st.tuples(st.integers(0, 114), st.integers(0, 255)), min_size=1, max_size=6), st.integers(0, 120)
)
def test_a_damaged_record_is_refused_or_read_and_nothing_worse(
    changes: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(REAL_RECORD)
    for at, value in changes:
        data[at] = value
    try:
        found = decode_record(bytes(data[:cut]))
    except RecordError:
        return
    assert isinstance(found, MessageExt) and found.size <= cut


def test_a_record_that_is_cut_anywhere_is_refused() -> None:
    for length in range(len(REAL_RECORD)):
        with pytest.raises(RecordError):
            decode_record(REAL_RECORD[:length])


def test_which_flipped_bytes_nobody_notices_is_known_byte_by_byte() -> None:
    """I2.2 and its limit: the checksum covers the body, the format's own lengths and places cover themselves.

    Every byte of RocketMQ's own record takes each of its 255 wrong values in a log; a reader stops or not.
    """
    with Simulation() as sim:
        noticed = changes_noticed(sim.node("broker").disk)
    never = {field.name for field, _, most in noticed_table(noticed) if most == 0}
    always = {field.name for field, fewest, _ in noticed_table(noticed) if fewest == 255}
    assert never == {
        "queue id", "flag", "queue offset", "sys flag", "born time", "born host", "store time", "store host",
        "reconsume times", "prepared offset",
    }  # fmt: skip
    assert always == {
        "size", "magic", "body CRC", "physical offset", "body length", "body", "topic length",
        "properties length",
    }  # fmt: skip
    names = {at: field.name for field in fields_of(REAL_RECORD) for at in range(field.begin, field.end)}
    sometimes = {names[at]: stops for at, stops in enumerate(noticed) if 0 < stops < 255}
    # Topic and properties only when the change is no UTF-8; the sys flag only in its two bits about hosts.
    assert sometimes == {"sys flag": 192, "topic": 128, "properties": 128}
    assert sum(stops < 255 for stops in noticed) == 83, "of 115 bytes"


def test_properties_that_hold_a_separator_are_refused_wherever_it_stands() -> None:
    """Also when one \\x01 and one \\x02 too many balance each other."""
    for properties in ({"a": "x\x01y"}, {"a": "x\x02y"}, {"a": "x\x01y", "b": "p\x02q"}, {"a\x02": "x"}):
        with pytest.raises(MessageIllegal):
            encode_properties(properties)


@given(st.dictionaries(TEXT.filter(bool), TEXT))
def test_properties_come_back_without_the_empty_ones(properties: dict[str, str]) -> None:
    if any(sign in name + value for name, value in properties.items() for sign in "\x01\x02"):
        return
    kept = {name: value for name, value in properties.items() if value}
    assert decode_properties(encode_properties(properties)) == kept


@given(st.text(st.sampled_from("ab\x01\x02"), max_size=30))
def test_any_text_is_read_as_some_properties_and_writing_those_changes_nothing(text: str) -> None:
    """Java takes the first separator for a name's end; a piece without name or value is passed over."""
    properties = decode_properties(text)
    assert all(name and value for name, value in properties.items())
    if not any("\x01" in value for value in properties.values()):
        assert decode_properties(encode_properties(properties)) == properties


def test_tags_and_keys_of_a_message_are_properties_like_others() -> None:
    message = Message("flights", b"x", tags="HA", keys="HA51 N384HA", properties={"gate": "12"})
    assert message.properties == {"gate": "12", "KEYS": "HA51 N384HA", "TAGS": "HA"}
    assert repr(message) == f"Message('flights', 1 bytes, {message.properties})"
