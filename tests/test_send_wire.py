"""Sending, seen from the wire: checks and codes, the answer's bytes, batches, one-way sends, retries."""

import asyncio
import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mq.commitlog.batch import decode_batch, encode_batch
from mq.commitlog.client import Producer, SendStatus
from mq.commitlog.headers import (
    SendMessageRequestHeader,
    SendMessageRequestHeaderV2,
    check_numbers,
    from_v2,
)
from mq.commitlog.hosts import decode_message_id
from mq.commitlog.ids import UniqKeys
from mq.commitlog.message import Message, MessageIllegal
from mq.commitlog.put import request_of
from mq.commitlog.reader import LogReader
from mq.commitlog.record import MessageExt, decode_records
from mq.commitlog.store import MessageStore
from mq.routing.broker import Broker
from mq.routing.client import ClientInstance
from mq.routing.route import MessageQueue
from mq.routing.topics import TopicConfig
from mq.runtime.errors import MQError
from mq.sim.faults import FullDisk
from mq.sim.simulation import Simulation
from mq.system import build_broker, build_namesrv
from mq.wire.codes import RequestCode
from mq.wire.command import ONEWAY_FLAG, RemotingCommand
from mq.wire.errors import HeaderError, RemoteError, RequestTimeout
from mq.wire.headers import decode_header
from mq.wire.rpc import Connection
from tests.test_wire_frames import as_java_prints
from tests.wire_rig import REAL, NotingTransport, captures, frames_in, request

SEND, SEND_V2, SEND_BATCH, VIEW = 10, 310, 320, 33
BASE = {
    "a": "PG",
    "b": "flights",
    "c": "TBW102",
    "d": "4",
    "e": "0",
    "f": "0",
    "g": "1700000000000",
    "h": "0",
}
LONG = {
    "producerGroup": "PG", "topic": "flights", "defaultTopic": "TBW102", "defaultTopicQueueNums": "4",
    "queueId": "0", "sysFlag": "0", "bornTimestamp": "1700000000000", "flag": "0",
}  # fmt: skip
CLUSTER = "CLUSTER\x01DefaultCluster"


class Rig:
    """A broker of chapter 2 and one connection to it, whose reads the test makes itself."""

    def __init__(self, sim: Simulation, **properties: str) -> None:
        self.sim = sim
        self.broker: Broker = build_broker(sim.node("broker"), properties, chapter=2)
        sim.run(sim.on("broker", self.broker.start()), timeout_s=60)
        self.store = self.broker.part(MessageStore)
        self.transport = NotingTransport()
        self.connection = Connection(sim.node("broker"), self.broker.server.registry)
        self.connection.connection_made(self.transport)
        self.broker.topics.put(TopicConfig("flights", 4, 4))
        sim.run(asyncio.sleep(0.1))

    def read(self, data: bytes) -> bytes:
        """One network read; what was written in answer to it, or when the topic that it made was on disk."""
        before = len(self.transport.written)
        self.connection.data_received(data)
        if self.broker.topics.writing is not None:
            self.sim.run(asyncio.sleep(0.1))
        return self.transport.written[before:]

    def ask(self, code: int, ext: dict[str, str] | None, body: bytes = b"", flag: int = 0) -> RemotingCommand:
        """One request, one reply."""
        (reply,) = frames_in(self.read(request(code, 7, ext, body, flag)))
        return reply

    def send(self, body: bytes = b"x", **changes: str) -> RemotingCommand:
        """SEND_MESSAGE_V2 with these fields changed."""
        return self.ask(SEND_V2, {**BASE, **changes}, body)

    def messages(self, position: int = 0) -> list[MessageExt]:
        """The log from a position on."""
        return list(LogReader(self.store.log, position, self.store.log.end))


# ---------------------------------------------------------------- checks, in their order

Change = dict[str, str | None]
REFUSED: list[tuple[str, Change, bytes, int, str]] = [
    ("no topic", {"b": None}, b"x", 1, "SendMessageRequestHeaderV2 lacks b"),
    ("no queue id", {"e": None}, b"x", 1, "SendMessageRequestHeaderV2 lacks e"),
    ("a queue id that is no number", {"e": "first"}, b"x", 1, "SendMessageRequestHeaderV2: invalid literal"),
    ("a queue id of 71 bits", {"e": str(2**70)}, b"x", 1, "a number in the header of a send"),
    ("a negative one of 33 bits", {"e": str(-(2**32))}, b"x", 1, "a number in the header of a send"),
    ("a born time of 65 bits", {"g": str(2**63)}, b"x", 1, "a number in the header of a send"),
    ("a flag of 33 bits", {"h": str(2**31)}, b"x", 1, "a number in the header of a send"),
    ("a sys flag of 33 bits", {"f": str(2**31)}, b"x", 1, "a number in the header of a send"),
    ("reconsume times of 33 bits", {"j": str(2**31)}, b"x", 1, "a number in the header of a send"),
    ("a blank topic", {"b": " "}, b"x", 1, "a topic's name cannot be blank"),
    ("a topic with a slash", {"b": "a/b"}, b"x", 1, "topic 'a/b': only letters, digits and % | - _"),
    ("a topic of 128 characters", {"b": "t" * 128}, b"x", 1, f"topic '{'t' * 40}'... has 128 characters"),
    ("a topic of the broker's own", {"b": "SCHEDULE_TOPIC_XXXX"}, b"x", 16, "the topic[SCHEDULE_"),
    ("half messages' topic", {"b": "RMQ_SYS_TRANS_HALF_TOPIC"}, b"x", 16, "the topic[RMQ_SYS"),
    ("an unknown template", {"b": "new", "c": "other"}, b"x", 17, "topic[new] not exist, apply"),
    ("a template without INHERIT", {"b": "new", "c": "flights"}, b"x", 17, "topic[new] not exist, apply"),
    ("a queue that is not there", {"e": "4"}, b"x", 1, "request queueId[4] is illegal: topic fli"),
    ("a half message", {"f": "4"}, b"x", 16, "the broker[10.0.0.1:10911] sending trans"),
    ("a retry topic's queue 1", {"b": "%RETRY%g", "e": "1", "c": "none"}, b"x", 1, "request queueId[1]"),
    ("properties of 32,768 bytes", {"i": "k\x01" + "v" * 32_743}, b"x", 13, "properties of 32768 bytes"),
    ("a body of 4 MiB and 1", {}, bytes((4 << 20) + 1), 13, "a body of 4194305 bytes"),
    ("a retry topic of 128", {"b": "%RETRY%" + "g" * 121, "c": "none"}, b"x", 13, "the topic is longer than"),
    ("half a batch", {"m": "true"}, bytes(10), 13, "batch element 0: "),
    ("an empty batch", {"m": "true"}, b"", 13, "a batch without messages"),
    # Two faults at once: the first check in RocketMQ's order is the answer.
    ("bad number before bad topic", {"b": "a/b", "e": "x"}, b"x", 1, "SendMessageRequestHeaderV2: invalid"),
    ("forbidden before bad queue", {"b": "OFFSET_MOVED_EVENT", "e": "99"}, b"x", 16, "the topic[OFFSET"),
    ("unknown topic before bad queue", {"b": "new", "c": "?", "e": "99"}, b"x", 17, "topic[new] not exist"),
    ("bad queue before transaction", {"e": "99", "f": "4"}, b"x", 1, "request queueId[99]"),
    ("transaction before size", {"f": "4"}, bytes((4 << 20) + 1), 16, "the broker["),
]  # fmt: skip


@pytest.mark.parametrize(
    ("what", "changes", "body", "code", "remark"), REFUSED, ids=[row[0] for row in REFUSED]
)
def test_a_send_is_refused_by_the_first_check_that_it_fails(
    what: str, changes: Change, body: bytes, code: int, remark: str
) -> None:
    """Each answer has the two fields that Java clients look for, and nothing has been stored."""
    with Simulation() as sim:
        rig = Rig(sim)
        fields = {name: value for name, value in {**BASE, **changes}.items() if value is not None}
        reply = rig.ask(SEND_V2, fields, body)
        assert (reply.code, (reply.remark or "")[: len(remark)]) == (code, remark)
        assert reply.ext_fields == {"TRACE_ON": "true", "MSG_REGION": "DefaultRegion"}
        assert rig.store.log.end == 0
        assert rig.send().code == 0, "the connection and the store are unharmed"


def test_a_broker_that_may_not_be_written_refuses_only_topics_in_order() -> None:
    with Simulation() as sim:
        rig = Rig(sim, brokerPermission="4")
        rig.broker.topics.put(TopicConfig("boards", 2, 2, order=True))
        reply = rig.send(b="boards", e="99")
        assert (reply.code, reply.remark) == (16, "the broker[10.0.0.1:10911] sending message is forbidden")
        assert rig.send().code == 0


@pytest.mark.parametrize("number", [str(2**31), str(2**70), "-2147483649", "9" * 5000])
@pytest.mark.parametrize("name", ["queueId", "flag", "sysFlag", "reconsumeTimes"])
def test_numbers_too_large_for_a_record_are_refused_under_the_long_names_too(name: str, number: str) -> None:
    with Simulation() as sim:
        rig = Rig(sim)
        reply = rig.ask(SEND, {**LONG, name: number}, b"x")
        assert (reply.code, rig.store.log.end) == (1, 0)
        assert not any(event.kind == "handler failed" for event in sim.events), "a surprise, not a refusal"


def test_a_store_that_cannot_write_answers_14_and_later_takes_messages_again() -> None:
    with Simulation() as sim:
        faults: list[FullDisk] = []

        def full(node: Any, disk: Any) -> FullDisk:
            faults.append(FullDisk(node, disk, 10_000))
            return faults[-1]

        sim.wrap_disk("broker", full)
        rig = Rig(sim)
        assert rig.send(b"first").code == 0
        faults[-1].room_bytes = 20
        replies = frames_in(rig.read(request(SEND_V2, 1, BASE, b"a") + request(SEND_V2, 2, BASE, b"b")))
        assert [(reply.opaque, reply.code) for reply in replies] == [(1, 14), (2, 14)]
        assert replies[0].remark == "the disk refused the write: No space left on device"
        faults[-1].room_bytes = 10_000
        assert (rig.send(b"second").ext_fields or {})["queueOffset"] == "1"
        assert [message.body for message in rig.messages()] == [b"first", b"second"]


# ---------------------------------------------------------------- what becomes of a send


@pytest.mark.parametrize(("asked", "made"), [("4", 4), ("8", 8), ("100", 8)])
def test_a_send_to_an_unknown_topic_creates_it_with_as_many_queues_as_asked_for_and_allowed(
    asked: str, made: int
) -> None:
    with Simulation() as sim:
        rig = Rig(sim)
        assert rig.send(b="new", d=asked).code == 0
        topic = rig.broker.topics.find("new")
        assert topic is not None and (topic.write_queue_nums, topic.perm) == (made, 6)


def test_a_send_to_an_unknown_retry_topic_creates_it_with_one_queue() -> None:
    with Simulation() as sim:
        rig = Rig(sim, autoCreateTopicEnable="false")
        assert rig.send(b="%RETRY%group").code == 0
        topic = rig.broker.topics.find("%RETRY%group")
        assert topic is not None and topic.write_queue_nums == 1
        assert rig.send(b="new").code == 17


def test_a_negative_queue_id_lets_the_broker_choose_a_writable_queue() -> None:
    with Simulation() as sim:
        rig = Rig(sim)
        chosen = [(rig.send(e="-1").ext_fields or {})["queueId"] for _ in range(60)]
        assert set(chosen) == {"0", "1", "2", "3"}
        assert [str(message.queue_id) for message in rig.messages()] == chosen


STORED: list[tuple[str | None, str]] = [
    (None, CLUSTER),
    ("", CLUSTER),
    ("KEYS\x01k\x02", f"KEYS\x01k\x02{CLUSTER}"),
    ("KEYS\x01k", f"KEYS\x01k\x02{CLUSTER}"),
    ("WAIT\x01true\x02", CLUSTER),
    ("KEYS\x01k\x02WAIT\x01true\x02color\x01red\x02", f"KEYS\x01k\x02color\x01red\x02{CLUSTER}"),
    ("WAIT\x01false\x02KEYS\x01WAIT", f"KEYS\x01WAIT\x02{CLUSTER}"),
    ("NOWAIT\x01x\x02WAITING\x01y\x02", f"NOWAIT\x01x\x02WAITING\x01y\x02{CLUSTER}"),
    # What the real broker does not write either: a name without a value, a name twice, CLUSTER twice.
    ("a\x01\x02b\x011\x02c\x02", f"b\x011\x02{CLUSTER}"),
    ("a\x011\x02b\x012\x02a\x013\x02", f"a\x013\x02b\x012\x02{CLUSTER}"),
    ("CLUSTER\x01other\x02KEYS\x01k\x02", f"{CLUSTER}\x02KEYS\x01k"),
]


@pytest.mark.parametrize(("sent", "stored"), STORED)
def test_wait_is_not_stored_and_the_cluster_is_added_at_the_end(sent: str | None, stored: str) -> None:
    with Simulation() as sim:
        rig = Rig(sim)
        assert rig.ask(SEND_V2, BASE if sent is None else {**BASE, "i": sent}, b"x").code == 0
        assert rig.messages()[0].properties_text == stored


def test_an_answer_says_where_the_message_lies() -> None:
    with Simulation() as sim:
        rig = Rig(sim)
        for number in range(3):
            fields = rig.send(b"%d" % number, e="2").ext_fields or {}
            message = rig.messages()[number]
            assert fields["msgId"] == message.msg_id
            assert decode_message_id(fields["msgId"]) == ("10.0.0.1:10911", message.physical_offset)
            assert (fields["queueId"], fields["queueOffset"]) == ("2", str(number))
            assert (message.queue_id, message.queue_offset, message.topic) == (2, number, "flights")
        assert (message.born_host, message.born_timestamp_ms) == ("192.0.2.1:50000", 1_700_000_000_000)
        assert message.store_timestamp_ms == sim.node("broker").wall_ms()


@pytest.mark.parametrize("code", [SEND, SEND_V2])
def test_a_one_way_send_is_stored_and_not_answered(code: int) -> None:
    with Simulation() as sim:
        rig = Rig(sim)
        assert rig.read(request(code, 1, LONG if code == SEND else BASE, b"quiet", ONEWAY_FLAG)) == b""
        assert rig.read(request(code, 1, {"b": "a/b"}, b"", ONEWAY_FLAG)) == b"", "nor is a refusal"
        assert [message.body for message in rig.messages()] == [b"quiet"]


def test_all_sends_of_a_network_read_share_one_write_and_are_answered_in_order() -> None:
    with Simulation() as sim:
        rig = Rig(sim)
        rig.send()
        calls = sim.node("broker").machine.platter.changing_calls
        before = len(calls)
        replies = frames_in(rig.read(b"".join(request(SEND_V2, n, BASE, b"%d" % n) for n in range(50))))
        assert len(calls) - before == 1
        assert [reply.opaque for reply in replies] == list(range(50))
        assert [(reply.ext_fields or {})["queueOffset"] for reply in replies] == [
            str(n) for n in range(1, 51)
        ]


SENDS = [
    (sent, answered)
    for sent in captures()
    for answered in captures()
    if sent.source == REAL == answered.source
    and sent.fields["code"] in (SEND, SEND_V2)
    and answered.direction == "S>C"
    and answered.what.startswith("RESP to SEND_MESSAGE")
    and sent.line < answered.line <= sent.line + 4
    and sent.fields["opaque"] == answered.fields["opaque"]
    and sent.body_is_known
]


@pytest.mark.parametrize(("sent", "answered"), SENDS, ids=[str(sent) for sent, _ in SENDS])
def test_the_answer_to_a_captured_send_is_the_real_broker_s_byte_for_byte(sent: Any, answered: Any) -> None:
    """The log is filled up to where the real one stood, so that the offsets in the answer are the same."""
    with Simulation() as sim:
        rig = Rig(sim, brokerIP1="127.0.0.1", listenPort="30911")
        fields = answered.fields["extFields"]
        _, end = decode_message_id(fields["msgId"])
        ext = sent.fields["extFields"]
        topic = ext.get("b", ext.get("topic"))
        for _ in range(int(fields["queueOffset"])):
            rig.send(b"", b=topic, e=fields["queueId"])
        if end:
            overhead = 91 + len("filler") + len(CLUSTER)
            rig.send(bytes(end - rig.store.log.end - overhead), b="filler")
        assert rig.store.log.end == end
        assert rig.read(sent.frame).hex() == answered.frame.hex()
        (message,) = rig.messages(end)
        assert message.body == sent.body
        wanted = dict(pair.split("\x01") for pair in _properties(ext).split("\x02") if pair)
        wanted.pop("WAIT", None)
        assert message.properties == {**wanted, "CLUSTER": "DefaultCluster"}


def _properties(ext: dict[str, Any]) -> str:
    return str(ext.get("i", ext.get("properties")))


def test_four_sends_of_four_kinds_of_client_were_captured() -> None:
    assert len(SENDS) == 4
    assert {(sent.fields["code"], sent.fields["version"]) for sent, _ in SENDS} == {
        (310, 121), (10, 63), (310, 333), (310, 401),
    }  # fmt: skip


def test_the_record_of_the_first_captured_send_has_the_bytes_that_the_real_broker_gave_to_its_consumer() -> (
    None
):
    """All but the times, the sender's port, and the order of the properties, which is a Java hash map's."""
    (sent, _), *_ = SENDS
    pulled = next(
        each
        for each in captures()
        if each.source == REAL and each.what.startswith("RESP to PULL") and each.body
    )
    theirs = decode_records(pulled.body)[0]
    with Simulation() as sim:
        rig = Rig(sim, brokerIP1="127.0.0.1", listenPort="30911")
        rig.read(sent.frame)
        (ours,) = rig.messages()
    for name in ("size", "body_crc", "queue_id", "flag", "queue_offset", "physical_offset", "sys_flag",
                 "born_timestamp_ms", "store_host", "reconsume_times", "prepared_transaction_offset", "body",
                 "topic", "properties"):  # fmt: skip
        assert getattr(ours, name) == getattr(theirs, name), name


# ---------------------------------------------------------------- the header, fast and plain

NAMES = dict(zip("abcdefghijklmn", SendMessageRequestHeader.__slots__, strict=True))
NUMBERS = st.one_of(
    st.integers(-(1 << 31), (1 << 31) - 1).map(str),
    st.integers(-(1 << 72), 1 << 72).map(str),
    st.sampled_from(
        ["", " 5 ", "1_000", "1.0", "0x10", "-", "+7", "٣", "true", "9" * 5000, str(1 << 63), "NaN"]
    ),
)
FLAGS = st.sampled_from(["true", "false", "1", "0", "TRUE", "", "yes"])
WORDS = st.text(max_size=8)


@st.composite
def v2_fields(draw: st.DrawFn) -> dict[str, str]:
    """Fields of a V2 header: mostly right, sometimes missing, sometimes nonsense."""
    kinds = {
        "d": NUMBERS,
        "e": NUMBERS,
        "f": NUMBERS,
        "g": NUMBERS,
        "h": NUMBERS,
        "j": NUMBERS,
        "l": NUMBERS,
        "k": FLAGS,
        "m": FLAGS,
    }
    good = dict(BASE, i="KEYS\x01k", j="0", k="false", m="false", n="broker-a")
    for name in draw(st.lists(st.sampled_from("abcdefghijklmn"), max_size=4)):
        value = draw(st.one_of(st.none(), kinds.get(name, WORDS)))
        if value is None:
            good.pop(name, None)
        else:
            good[name] = value
    return good


def plain(fields: dict[str, str]) -> SendMessageRequestHeader:
    """What `from_v2` should give, by the generic decoder. Raises HeaderError."""
    found = decode_header(SendMessageRequestHeaderV2, fields)
    header = SendMessageRequestHeader(**{NAMES[name]: getattr(found, name) for name in NAMES})
    check_numbers(header)
    return header


@given(v2_fields())
@settings(max_examples=400)
def test_the_fast_header_is_the_plain_one_and_refuses_the_same(fields: dict[str, str]) -> None:
    outcomes: list[Any] = []
    for decode in (plain, from_v2):
        try:
            outcomes.append(decode(fields))
        except HeaderError:
            outcomes.append("refused")
    assert outcomes[0] == outcomes[1]


def test_the_sends_of_all_captured_clients_give_the_same_header_both_ways() -> None:
    """ali-ons sends numbers and booleans, C++ clients text, "0" and "1"."""
    found = 0
    for capture in captures():
        if capture.fields["code"] == SEND_V2:
            ext = {name: as_java_prints(value) for name, value in capture.fields["extFields"].items()}
            assert from_v2(ext) == plain(ext)
            found += 1
    assert found >= 10


@given(
    st.dictionaries(st.sampled_from(list("abcdefghijklmn")), st.one_of(WORDS, NUMBERS, FLAGS)),
    st.binary(max_size=80),
)
@settings(max_examples=40)
def test_whatever_is_sent_is_answered_and_never_a_surprise(fields: dict[str, str], body: bytes) -> None:
    with Simulation() as sim:
        rig = Rig(sim)
        for code in (SEND_V2, SEND_BATCH, SEND):
            rig.ask(code, {**BASE, **LONG, **fields}, body)
        assert not any(event.kind == "handler failed" for event in sim.events)
        assert rig.send().code == 0


PIECES = [
    "KEYS\x01a b", "TAGS\x01T", "UNIQ_KEY\x01u", "WAIT\x01true", "WAIT\x01", "WAIT", "CLUSTER\x01x",
    "KEYS\x01", "\x01v", "KEYS\x01a\x01b", "",
]  # fmt: skip
PROPERTY_TEXTS = st.one_of(
    st.text("abWAITKEYS\x01\x02 é中", max_size=24),
    st.lists(
        st.sampled_from(PIECES),
        max_size=5,
    ).map("\x02".join),
)  # fmt: skip


@given(st.lists(PROPERTY_TEXTS, min_size=1, max_size=4), st.booleans())
@settings(max_examples=60)
def test_what_derived_stores_are_told_of_a_send_is_what_the_log_says(
    texts: list[str], as_batch: bool
) -> None:
    """I2.4 for any property text a client may send, well made or not."""
    told: list[Any] = []
    with Simulation() as sim:
        rig = Rig(sim)
        rig.store.dispatchers.append(_Notes(told))
        if as_batch:
            rig.ask(
                SEND_BATCH,
                {**BASE, "m": "true", "i": texts[0]},
                b"".join(element(b"x", text) for text in texts),
            )
        else:
            for text in texts:
                rig.send(i=text)
        assert [each.as_tuple() for each in told] == [request_of(each).as_tuple() for each in rig.messages()]
        assert len(told) == len(texts)
        for message in rig.messages():
            assert as_batch or "WAIT" not in message.properties  # in a batch it stays, as in the real broker
            assert message.properties["CLUSTER"] == "DefaultCluster"


class _Notes:
    """A derived store that does nothing but listen."""

    name = "logics"

    def __init__(self, told: list[Any]) -> None:
        self.dispatch: Callable[[Any], None] = told.extend

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


# ---------------------------------------------------------------- batches


def element(body: bytes, text: str, flag: int = 0) -> bytes:
    """One element of a batch, with any property text."""
    properties = text.encode()
    size = 22 + len(body) + len(properties)
    numbers = (size, 0, 0, flag, len(body))
    head = b"".join(number.to_bytes(4, "big", signed=True) for number in numbers)
    return head + body + len(properties).to_bytes(2, "big") + properties


def test_a_batch_element_is_byte_for_byte_what_rocketmq_s_encoder_writes() -> None:
    message = Message("T", b"hi", properties={"KEYS": "k1", "WAIT": "true", "TAGS": "TagA"})
    assert encode_batch([message]).hex() == (
        "00000034000000000000000000000000000000026869001c4b455953016b310257414954017472756502544147530154616741"
        "02"
    )


@given(
    st.lists(
        st.tuples(
            st.binary(max_size=50),
            st.dictionaries(st.text("abc", min_size=1), st.text("xyz")),
            st.integers(-9, 9),
        )
    )
)
def test_a_batch_comes_back_as_it_was(parts: list[tuple[bytes, dict[str, str], int]]) -> None:
    messages = [Message("T", body, flag=flag, properties=properties) for body, properties, flag in parts]
    found = decode_batch(encode_batch(messages))
    assert [(flag, body) for flag, body, _ in found] == [(message.flag, message.body) for message in messages]


@given(
    st.binary(max_size=120),
    st.lists(st.tuples(st.integers(0, 90), st.integers(0, 255)), max_size=4),
    st.integers(0, 90),
)
def test_a_body_that_is_no_batch_is_refused_and_nothing_worse(
    garbage: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    whole = bytearray(element(b"hello", "k\x01v") + element(b"", ""))
    for at, value in changes:
        whole[at % len(whole)] = value
    for body in (garbage, bytes(whole[:cut])):
        try:
            parts = decode_batch(body)
        except MessageIllegal:
            continue
        assert sum(22 + len(each) + len(text.encode()) for _, each, text in parts) == len(body)


@pytest.mark.parametrize(
    "message", [Message("T", flag=1 << 31), Message("T", properties={"k": "v" * 70_000})]
)
def test_a_message_that_does_not_fit_into_an_element_is_refused_before_it_is_sent(message: Message) -> None:
    with pytest.raises(MessageIllegal):
        encode_batch([message])


def test_a_batch_is_stored_in_a_row_and_answered_with_every_id_and_the_first_queue_offset() -> None:
    with Simulation() as sim:
        rig = Rig(sim)
        rig.send(b"before")
        body = (
            element(b"1", "KEYS\x01a\x02WAIT\x01true\x02", flag=5)
            + element(b"2", "")
            + element(b"3", "TAGS\x01T")
        )
        fields = rig.ask(SEND_BATCH, {**BASE, "m": "true"}, body).ext_fields or {}
        messages = rig.messages()[1:]
        assert [(each.body, each.queue_offset, each.flag) for each in messages] == [
            (b"1", 1, 5),
            (b"2", 2, 0),
            (b"3", 3, 0),
        ]
        assert [each.properties_text for each in messages] == [
            f"KEYS\x01a\x02WAIT\x01true\x02{CLUSTER}",
            CLUSTER,
            f"TAGS\x01T\x02{CLUSTER}",
        ]
        assert fields["msgId"].split(",") == [each.msg_id for each in messages]
        assert fields["queueOffset"] == "1"


def test_a_message_of_a_batch_keeps_its_own_properties_and_gets_those_of_the_batch() -> None:
    """Seen in the real broker's log: WAIT stays in both, and nothing is put in order."""
    with Simulation() as sim:
        rig = Rig(sim)
        body = element(b"1", "b\x011\x02a\x01\x02WAIT\x01true\x02") + element(b"2", "")
        rig.ask(SEND_BATCH, {**BASE, "m": "true", "i": "WAIT\x01true\x02x\x01y\x02"}, body)
        of_the_batch = f"WAIT\x01true\x02x\x01y\x02{CLUSTER}"
        assert [each.properties_text for each in rig.messages()] == [
            f"b\x011\x02a\x01\x02WAIT\x01true\x02{of_the_batch}",
            of_the_batch,
        ]


def test_the_field_batch_decides_and_not_the_code() -> None:
    """As in the real broker: Go clients send singles under 10, and a batch may come under 310."""
    with Simulation() as sim:
        rig = Rig(sim)
        two = element(b"1", "") + element(b"2", "")
        rig.ask(SEND_BATCH, BASE, two)
        rig.ask(SEND_V2, {**BASE, "m": "1"}, two)
        assert [message.body for message in rig.messages()] == [two, b"1", b"2"]


# ---------------------------------------------------------------- looking at one message


def test_a_message_is_shown_by_its_offset() -> None:
    with Simulation() as sim:
        rig = Rig(sim)
        rig.send(b"first")
        rig.send(b"second")
        for message in rig.messages():
            reply = rig.ask(VIEW, {"offset": str(message.physical_offset)})
            assert reply.code == 0
            assert [each.body for each in decode_records(reply.body)] == [message.body]


@pytest.mark.parametrize(
    "offset", ["-1", "1", "50", "100000", str(1 << 40), str((1 << 63) - 1), str(1 << 63), "", "x"]
)
def test_a_place_where_no_message_begins_is_code_1(offset: str) -> None:
    with Simulation() as sim:
        rig = Rig(sim)
        rig.send(b"\x7f" * 200)
        reply = rig.ask(VIEW, {"offset": offset})
        assert (reply.code, reply.body) == (1, b"")
        assert reply.remark and (
            "can not find message by the offset" in reply.remark or "offset is" in reply.remark
        )
        assert not any(event.kind == "handler failed" for event in sim.events)


# ---------------------------------------------------------------- the producer

NAMES_ADDRESS = "10.0.0.1:9876"


class World:
    """A NameServer, three brokers with the topic `flights` (2 queues each), and a producer."""

    def __init__(self, sim: Simulation, seed_turn: int = 0) -> None:
        self.sim = sim
        server = build_namesrv(sim.node("names", "10.0.0.1"))
        sim.run(sim.on("names", server.start()))
        self.brokers: dict[str, Broker] = {}
        for name in ("EWR", "JFK", "LGA"):
            broker = build_broker(
                sim.node(name), {"brokerName": name, "namesrvAddr": NAMES_ADDRESS}, chapter=2
            )
            broker.topics.put(TopicConfig("flights", 2, 2))
            sim.run(sim.on(name, broker.start()))
            self.brokers[name] = broker
        self.instance = ClientInstance(sim.node("client"), NAMES_ADDRESS)
        self.producer = Producer(self.instance, "PG")
        sim.run(sim.on("client", self.instance.add(self.producer)))
        sim.run(sim.on("client", self.instance.start()))

    def send(self, message: Message, queue: MessageQueue | None = None) -> Any:
        """Send one message from the client's node."""
        return self.sim.run(self.sim.on("client", self.producer.send(message, queue)), timeout_s=60)

    def stored(self, name: str) -> list[MessageExt]:
        """A broker's log."""
        log = self.brokers[name].part(MessageStore).log
        return list(LogReader(log, 0, log.end))


def refuse_all(broker: Broker, code: int) -> None:
    """From now on the broker answers every send with this code."""

    def refuse(request: Any) -> RemotingCommand:
        return RemotingCommand(code, {}, remark="no")

    broker.server.reject(RequestCode.SEND_MESSAGE_V2, refuse)


def note_all(broker: Broker, asked: list[str]) -> None:
    """Note the name of the broker for each send that it is asked for."""

    def note(_: Any) -> None:
        asked.append(broker.config.broker_name)

    broker.server.registry.reject[RequestCode.SEND_MESSAGE_V2].insert(0, note)


def test_sends_go_round_all_queues_of_all_brokers() -> None:
    with Simulation() as sim:
        world = World(sim)
        results = [world.send(Message("flights", b"%d" % number)) for number in range(12)]
        assert {result.status for result in results} == {SendStatus.SEND_OK}
        assert len({result.queue for result in results[:6]}) == 6
        assert [result.queue for result in results[:6]] == [result.queue for result in results[6:]]
        assert sum(len(world.stored(name)) for name in world.brokers) == 12


def test_a_result_says_where_the_message_lies() -> None:
    with Simulation() as sim:
        world = World(sim)
        message = Message("flights", b"x", tags="HA", keys="HA51")
        result = world.send(message)
        (stored,) = world.stored(result.queue.broker_name)
        assert result.offset_msg_id == stored.msg_id
        assert result.msg_id == message.properties["UNIQ_KEY"] == stored.properties["UNIQ_KEY"]
        assert (result.queue.queue_id, result.queue_offset) == (stored.queue_id, stored.queue_offset)
        assert (stored.tags, stored.keys) == ("HA", ["HA51"])


@pytest.mark.parametrize("code", [17, 14, 1, 16, 204, 205])
def test_a_retry_goes_to_another_broker_under_the_same_key(code: int) -> None:
    with Simulation() as sim:
        world = World(sim)
        for name in ("EWR", "JFK"):
            refuse_all(world.brokers[name], code)
        keys = []
        for number in range(6):
            message = Message("flights", b"%d" % number)
            result = world.send(message)
            assert result.queue.broker_name == "LGA"
            keys.append(message.properties["UNIQ_KEY"])
        assert [message.properties["UNIQ_KEY"] for message in world.stored("LGA")] == keys
        assert len(set(keys)) == 6


@pytest.mark.parametrize("code", [13, 3, 26, 2])  # 2, "busy", is retried by 5.x
def test_what_no_broker_would_take_is_not_retried(code: int) -> None:
    with Simulation() as sim:
        world = World(sim)
        asked: list[str] = []
        for broker in world.brokers.values():
            refuse_all(broker, code)
            note_all(broker, asked)
        with pytest.raises(RemoteError) as failure:
            world.send(Message("flights", b"x"))
        assert (failure.value.code, len(asked)) == (code, 1)


def test_three_tries_are_made_and_the_last_refusal_is_the_error() -> None:
    with Simulation() as sim:
        world = World(sim)
        asked: list[str] = []
        for broker in world.brokers.values():
            refuse_all(broker, 1)
            note_all(broker, asked)
        with pytest.raises(RemoteError, match=r"SYSTEM_ERROR \(1\): no"):
            world.send(Message("flights", b"x"))
        assert len(asked) == 3 and all(one != other for one, other in pairwise(asked))


def test_a_message_that_was_given_a_queue_is_tried_there_only() -> None:
    with Simulation() as sim:
        world = World(sim)
        refuse_all(world.brokers["JFK"], 2)
        with pytest.raises(RemoteError):
            world.send(Message("flights", b"x"), MessageQueue("flights", "JFK", 1))
        assert [world.stored(name) for name in world.brokers] == [[], [], []]
        assert world.send(Message("flights", b"x"), MessageQueue("flights", "LGA", 1)).queue.queue_id == 1


def test_a_broker_whose_process_died_is_passed_over_at_once() -> None:
    with Simulation() as sim:
        world = World(sim)
        sim.kill("EWR", "process")
        began = sim.loop.time()
        for number in range(6):
            assert world.send(Message("flights", b"%d" % number)).queue.broker_name != "EWR"
        assert sim.loop.time() - began < 0.1


@pytest.mark.parametrize("was_connected", [True, False])
def test_a_silent_broker_costs_a_send_three_seconds_and_no_more(was_connected: bool) -> None:
    """All tries share one limit: a connection that is not made in time is part of it."""
    with Simulation() as sim:
        world = World(sim)
        queue = MessageQueue("flights", "EWR", 0)
        if was_connected:
            world.send(Message("flights", b"x"), queue)
        else:
            world.send(Message("flights", b"x"), MessageQueue("flights", "LGA", 0))
        sim.kill("EWR", "power")
        began = sim.loop.time()
        with pytest.raises(MQError):
            world.send(Message("flights", b"y"), queue)
        assert 2.9 < sim.loop.time() - began <= 3.001


def test_a_retry_has_only_what_the_first_try_left() -> None:
    """EWR refuses after two seconds; the next is silent, and a connection to it may take one second."""
    with Simulation() as sim:
        world = World(sim)
        for name in ("JFK", "LGA"):
            sim.kill(name, "power")
        world.send(Message("flights", b"x"), MessageQueue("flights", "EWR", 0))
        sim.run(asyncio.sleep(8))  # the heartbeats have given up too

        async def not_now(request: Any) -> None:
            await asyncio.sleep(2)
            request.reply(RemotingCommand(14, {}, remark="not now"))

        world.brokers["EWR"].server.processors[RequestCode.SEND_MESSAGE_V2] = not_now
        world.producer._turn = 5  # the next queue is the first: EWR's
        began = sim.loop.time()
        with pytest.raises(RequestTimeout, match="was not reached in the time of this send"):
            world.send(Message("flights", b"y"))
        assert 2.9 < sim.loop.time() - began <= 3.001


def test_a_batch_of_one_topic_is_stored_whole_and_another_is_refused() -> None:
    with Simulation() as sim:
        world = World(sim)
        batch = [Message("flights", b"%d" % number) for number in range(3)]
        result = sim.run(sim.on("client", world.producer.send_batch(batch)), timeout_s=60)
        stored = world.stored(result.queue.broker_name)
        assert [message.body for message in stored] == [b"0", b"1", b"2"]
        assert result.msg_id.split(",") == [message.properties["UNIQ_KEY"] for message in stored]
        assert result.offset_msg_id.split(",") == [message.msg_id for message in stored]
        for wrong in ([], [Message("flights"), Message("gates")]):
            with pytest.raises(MessageIllegal, match="all of one topic"):
                sim.run(sim.on("client", world.producer.send_batch(wrong)))


def test_a_send_to_a_topic_that_nobody_knows_creates_it_on_the_broker_that_gets_it() -> None:
    with Simulation() as sim:
        world = World(sim)
        result = world.send(Message("new", b"x"))
        assert result.status is SendStatus.SEND_OK and result.queue.topic == "new"
        made = [name for name, broker in world.brokers.items() if broker.topics.find("new") is not None]
        assert made == [result.queue.broker_name]


def test_the_heartbeat_names_the_group_and_a_stopped_producer_says_goodbye() -> None:
    with Simulation() as sim:
        world = World(sim)
        assert json.loads(json.dumps(world.instance.heartbeat_data()))["producerDataSet"] == [
            {"groupName": "PG"}
        ]
        assert world.producer.topics() == ()
        world.send(Message("flights", b"x"))
        assert world.producer.topics() == ("flights",)
        sim.run(sim.on("client", world.instance.stop()), timeout_s=60)


def test_the_ids_of_one_client_are_all_different_and_say_when_they_were_made() -> None:
    with Simulation() as sim:
        node = sim.node("client")
        ids = UniqKeys(node)
        made = [ids.next() for _ in range(70_000)]
        assert len(set(made[:65_536])) == 65_536
        assert {len(each) for each in made} == {32}
        month_begins_ms = 1_356_998_400_000  # 2013-01-01T00:00:00Z
        assert int(made[0][20:28], 16) == node.wall_ms() - month_begins_ms
        sim.jump_clock("client", 31 * 86_400_000)
        assert int(ids.next()[20:28], 16) == node.wall_ms() - 1_359_676_800_000  # February begins
