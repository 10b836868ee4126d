"""Fuzzing what turns bytes into things: frames, typed headers, records, batches, properties, bodies, tables.

What must hold: a decoder raises the error that it names, or returns something that is written and read
again as the same; what has a fast and a plain form gives the same by both; nothing else escapes; nothing is
slow.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

from mq.clients.groups import SubscriptionGroupConfig, SubscriptionGroupManager
from mq.clients.heartbeat import decode_heartbeat
from mq.clients.subscription import SubscriptionData, build_subscription
from mq.commitlog.batch import decode_batch
from mq.commitlog.compressed import MAX_UNPACKED_BYTES, unpack_bodies
from mq.commitlog.headers import SendMessageRequestHeader, SendMessageRequestHeaderV2, check_numbers, from_v2
from mq.commitlog.hosts import decode_message_id, encode_host
from mq.commitlog.message import MessageIllegal, decode_properties, encode_properties
from mq.commitlog.record import MessageExt, RecordError, decode_record, decode_records, encode_record
from mq.consumequeue.headers import PullMessageHeader, QueryMessageHeader, UpdateConsumerOffsetHeader
from mq.consumequeue.offsets import ConsumerOffsetManager
from mq.routing.bodies import as_object, read_object, write_json
from mq.routing.config import BrokerConfig
from mq.routing.headers import BrokerHeader, CreateTopicHeader, RegisterBrokerHeader
from mq.routing.registration import read_registration
from mq.routing.route import TopicRouteData
from mq.routing.topics import TopicConfig, TopicConfigs, topics_from_json, topics_to_json
from mq.runtime.config import ConfigManager
from mq.runtime.errors import MQError
from mq.sim.simulation import Simulation
from mq.wire import fastjson
from mq.wire.codec import JSON, decode_frame, encode_frame
from mq.wire.command import RemotingCommand
from mq.wire.errors import FrameError, HeaderError
from mq.wire.headers import decode_header, encode_header
from mq.wire.knownheaders import LEAST_SEEN, KnownHeaders
from mq.wire.rpc import Connection, Processors, Request
from tests.fuzz_findings import Notes, watched
from tests.fuzz_mutators import TEXTS, bytes_of, frame_of, json_of
from tests.fuzz_servers import any_fields, step_seeds
from tests.interop.steps import BATCH, CHECK, LOCK, REGISTRATION, heartbeat

HEADERS: tuple[type[Any], ...] = (
    SendMessageRequestHeader, SendMessageRequestHeaderV2, PullMessageHeader, QueryMessageHeader,
    UpdateConsumerOffsetHeader, BrokerHeader, CreateTopicHeader, RegisterBrokerHeader,
)  # fmt: skip
HOSTS = (encode_host("10.0.0.9:40000"), encode_host("[2001:db8::1]:40000"))
READ_ERRORS = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What ConfigManager.load takes for "this file cannot be read"."""


def run(draw: Random, count: int, notes: Notes) -> None:
    """`count` damaged inputs, each to one decoder."""
    with Simulation(1) as sim, watched(600):
        checks = Checks(sim, notes)
        table = checks.table()
        for case in range(count):
            check, data = draw.choice(table)(draw)
            with notes.one(case, data):
                check(data)


Check = Callable[[bytes], None]


class Checks:
    """Every decoder with what must hold of it."""

    def __init__(self, sim: Simulation, notes: Notes) -> None:
        self.sim = sim
        self.node = sim.node("a")
        self.notes = notes
        self.connection = Connection(self.node, Processors())

    def table(self) -> list[Callable[[Random], tuple[Check, bytes]]]:
        """Draws of (what to call, with what)."""
        frames = [frame for frames in step_seeds().values() for frame in frames]
        records = list(sample_records())
        bodies = [heartbeat(), REGISTRATION, LOCK, CHECK, *sample_bodies()]
        tables = [*sample_tables(self.node)]

        def a_frame(draw: Random) -> tuple[Check, bytes]:
            return self.frame, frame_of(draw.choice(frames), draw, draw.choice(frames))[4:]

        warm = warm_headers()

        def a_known_header(draw: Random) -> tuple[Check, bytes]:
            seed, known = draw.choice(warm)
            return self._known_by(known), frame_of(seed, draw, draw.choice(warm)[0])[4:]

        def a_record(draw: Random) -> tuple[Check, bytes]:
            return self.record, bytes_of(draw.choice(records), draw, draw.choice(records))

        def some_records(draw: Random) -> tuple[Check, bytes]:
            return self.records, bytes_of(b"".join(draw.sample(records, 3)), draw, draw.choice(records))

        def a_batch(draw: Random) -> tuple[Check, bytes]:
            return self.batch, bytes_of(BATCH, draw, BATCH)

        def some_properties(draw: Random) -> tuple[Check, bytes]:
            text = "".join(draw.choice((*TEXTS, "KEYS\x01a b\x02", "TAGS\x01T\x02")) for _ in range(3))
            return self.properties, bytes_of(text.encode(), draw, b"k\x01v\x02")

        def a_header(draw: Random) -> tuple[Check, bytes]:
            return self.header, json.dumps(_fields(draw)).encode()

        def a_body(draw: Random) -> tuple[Check, bytes]:
            return self.body, json_of(draw.choice(bodies), draw)

        def torn_body(draw: Random) -> tuple[Check, bytes]:
            return self.body, bytes_of(draw.choice(bodies), draw, draw.choice(bodies))

        def a_table(draw: Random) -> tuple[Check, bytes]:
            manager, text = draw.choice(tables)
            data = json_of(text, draw) if draw.random() < 0.7 else bytes_of(text, draw, text)
            return self._table_of(manager), data

        def a_packed_body(draw: Random) -> tuple[Check, bytes]:
            plain = draw.choice((b"x" * 100, draw.randbytes(300), bytes(200_000), b""))
            return self.packed, bytes_of(zlib.compress(plain), draw, plain[:50])

        def an_expression(draw: Random) -> tuple[Check, bytes]:
            return self.expression, bytes_of(b"TagA || TagB||*", draw, draw.choice(TEXTS).encode())

        def an_id(draw: Random) -> tuple[Check, bytes]:
            return self.message_id, bytes_of(b"0A00000100002A9F0000000000000064", draw, b"0A" * 28)

        return [
            a_frame, a_frame, a_known_header, a_known_header, a_record, some_records, a_batch,
            some_properties, a_header, a_header, a_body, a_body, torn_body, a_table, a_packed_body,
            an_expression, an_id,
        ]  # fmt: skip

    def expect(self, holds: bool, what: str) -> None:
        """A fault unless it holds."""
        if not holds:
            self.notes.fault(what)

    def frame(self, payload: bytes) -> None:
        """A payload is a command that is written and read again as the same, or a FrameError."""
        try:
            command = decode_frame(payload)
        except FrameError:
            return
        if _is_writable("".join(command.ext_fields or ())):  # values must be; no name is ever stored
            again = decode_frame(encode_frame(command)[4:])
            self.expect(again == command, "a command changes when written again")
        for kind in HEADERS:
            try:
                typed = decode_header(kind, command.ext_fields)
            except HeaderError:
                continue
            again = decode_header(kind, encode_header(typed))
            self.expect(again == typed, f"{kind.__name__} changes when written again")

    def _known_by(self, known: KnownHeaders) -> Check:
        def check(payload: bytes) -> None:
            """What a known shape makes of a header is what the plain decoder makes of it."""
            fast = known.decode(payload)
            if fast is not None:
                plain = decode_frame(payload)
                self.expect(all_of(fast) == all_of(plain), f"a known shape reads {all_of(fast)}"[:500])

        return check

    def header(self, data: bytes) -> None:
        """The fast decoder of a send says what the plain one says."""
        fields = json.loads(data)
        plain: Any = None
        fast: Any = None
        try:
            told = decode_header(SendMessageRequestHeaderV2, fields)
            plain = SendMessageRequestHeader(*[getattr(told, name) for name in "abcdefghijklmn"])
            check_numbers(plain)
        except HeaderError:
            plain = HeaderError
        try:
            fast = from_v2(fields)
        except HeaderError:
            fast = HeaderError
        self.expect(plain == fast, f"the header of a send is {plain} plainly and {fast} fast")

    def record(self, data: bytes) -> None:
        """A record is what was written, or a RecordError."""
        try:
            found = decode_record(data)
        except RecordError:
            return
        self.expect(encoded(found) == data[: found.size], "a record changes when written again")
        _ = found.properties, found.tags, found.keys, found.msg_id, repr(found)

    def records(self, data: bytes) -> None:
        """A pull's body is records to its last byte, or a RecordError."""
        try:
            found = decode_records(data)
        except RecordError:
            return
        self.expect(sum(message.size for message in found) == len(data), "records do not fill their body")

    def batch(self, data: bytes) -> None:
        """A batch is its elements to the last byte, or illegal."""
        try:
            parts = decode_batch(data)
        except MessageIllegal:
            return
        size = sum(22 + len(body) + len(text.encode()) for _, body, text in parts)
        self.expect(size == len(data), "the elements of a batch do not fill it")

    def properties(self, data: bytes) -> None:
        """Properties that were read are written and read again as the same."""
        found = decode_properties(data.decode("utf-8", "replace"))
        try:
            text = encode_properties(found)
        except MessageIllegal:
            return  # a value may hold the sign that ends a name
        self.expect(decode_properties(text) == found, "properties change when written again")

    def body(self, data: bytes) -> None:
        """A body is what it should be, or an error with a code; plain JSON is read as JSON reads it."""
        self._as_json(data)
        for read in (decode_heartbeat, _registration(self.connection), _route_again, _rows):
            try:
                read(data)
            except MQError as error:
                self.expect(bool(error.remark), "an error without a sentence")

    def _as_json(self, data: bytes) -> None:
        try:
            found: Any = fastjson.loads(data.decode())
        except ValueError:
            found = ValueError
        try:
            plain = json.loads(data.decode(), parse_constant=_refuse)
        except (ValueError, RecursionError):
            return
        deep = found is ValueError and data.count(b"[") + data.count(b"{") > fastjson.MAX_DEPTH
        self.expect(deep or repr(found) == repr(plain), "JSON is read differently as fastjson's dialect")

    def _table_of(self, manager: Callable[[], ConfigManager]) -> Check:
        def check(data: bytes) -> None:
            """A table is read, written and read again as the same, or refused by what `load` expects."""
            first, second = manager(), manager()
            try:
                first.decode(data.decode())
            except READ_ERRORS:
                return
            text = first.encode()
            second.decode(text)
            self.expect(second.encode() == text, f"{first.path} changes when written again")

        return check

    def packed(self, data: bytes) -> None:
        """A body is unpacked, or left alone; never is it larger than allowed."""
        message = MessageExt()
        message.sys_flag, message.body = 1, data
        (found,) = unpack_bodies([message])
        self.expect(len(found.body) <= MAX_UNPACKED_BYTES, "an unpacked body is larger than allowed")

    def expression(self, data: bytes) -> None:
        """A tag expression has tags and codes, or is refused."""
        try:
            found = build_subscription("T", data.decode("utf-8", "replace"))
        except MQError:
            return
        again = SubscriptionData.from_json(json.loads(json.dumps(found.to_json())))
        self.expect(again == found, "a subscription changes when written again")

    def message_id(self, data: bytes) -> None:
        """An offset message id is one, or a ValueError."""
        try:
            decode_message_id(data.decode("utf-8", "replace"))
        except ValueError:
            return


def _is_writable(text: str) -> bool:
    return text.encode("utf-8", "replace").decode() == text


def _refuse(name: str) -> Any:
    raise ValueError(name)


def _fields(draw: Random) -> dict[str, str]:
    """The header of a send with a few strange values."""
    fields = {letter: any_fields()[letter] for letter in "abcdefghijkm"}
    for _ in range(draw.choice((0, 1, 1, 2))):
        fields[draw.choice("abcdefghijklmn")] = draw.choice(TEXTS)
    if draw.random() < 0.2:
        del fields[draw.choice(list(fields))]
    return fields


def all_of(command: RemotingCommand) -> tuple[object, ...]:
    """Every field of a command, and the order of its own fields."""
    own = None if command.ext_fields is None else list(command.ext_fields.items())
    names = ("code", "opaque", "flag", "remark", "language", "version", "serialize_type", "body")
    return (own, *[getattr(command, name) for name in names])


@cache
def warm_headers() -> tuple[tuple[bytes, KnownHeaders], ...]:
    """JSON frames, each with what a connection knows that has read it often."""
    found = []
    for frame in [frame for frames in step_seeds().values() for frame in frames if frame[4] == JSON]:
        known = KnownHeaders()
        for _ in range(LEAST_SEEN):
            known.learn(frame[4:])
        if known.decode(frame[4:]) is not None:
            found.append((frame, known))
    return tuple(found)


def encoded(found: MessageExt) -> bytes:
    """A record from its fields."""
    hosts = encode_host(found.born_host, True), encode_host(found.store_host, True)
    return encode_record(
        found.topic.encode(), found.body, found.properties_text.encode(), found.queue_id, found.queue_offset,
        found.physical_offset, found.flag, found.sys_flag, found.born_timestamp_ms, hosts[0],
        found.store_timestamp_ms, hosts[1], found.reconsume_times, found.prepared_transaction_offset,
    )  # fmt: skip


@cache
def sample_records() -> tuple[bytes, ...]:
    """Records with hosts of both kinds, with and without properties, small and not."""
    return tuple(
        encode_record(
            topic, body, text, 1, 7, 100, 3, 0, 1_000, born, 2_000, store, 1, 50,
        )
        for topic in (b"T", b"x" * 127)
        for body in (b"", b"hello", bytes(300))
        for text in (b"", "KEYS\x01k1 ké\x02TAGS\x01TagA\x02".encode())
        for born in HOSTS
        for store in HOSTS
    )  # fmt: skip


def sample_bodies() -> list[bytes]:
    """A route, in JSON and in fastjson's dialect; tables with keys that are numbers and objects."""
    return [
        b'{"brokerDatas":[{"brokerAddrs":{0:"127.0.0.1:10911",1:"127.0.0.1:2"},"brokerName":"b","cluster":"C"}],'
        b'"filterServerTable":{},"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":4,"topicSysFlag":0,'
        b'"writeQueueNums":4}]}',
        b'{"brokerDatas":[{"brokerAddrs":{"0":"127.0.0.1:1"},"brokerName":"b","cluster":"C"}],"queueDatas":[]}',
        b'{"offsetTable":{"T@CG":{0:5,1:7}}}',
        b'{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"t"}:{"maxOffset":1}},"topicPutTps":0.0}',
    ]


def sample_tables(node: Any) -> list[tuple[Callable[[], ConfigManager], bytes]]:
    """Each config table with something in it, as its file has it."""

    def topics() -> TopicConfigs:
        return TopicConfigs(node, BrokerConfig())

    def groups() -> SubscriptionGroupManager:
        return SubscriptionGroupManager(node)

    def offsets() -> ConsumerOffsetManager:
        return ConsumerOffsetManager(node)

    filled = topics()
    filled.table["Made"] = TopicConfig("Made", 3, 3)
    some = groups()
    some.table["CG"] = SubscriptionGroupConfig("CG")
    kept = offsets()
    kept.commit("CG", "Made", 0, 5)
    kept.commit("CG", "Made", 1, 7)
    managers: list[tuple[Callable[[], ConfigManager], ConfigManager]]
    managers = [(topics, filled), (groups, some), (offsets, kept)]
    return [(make, manager.encode().encode()) for make, manager in managers]


def _registration(connection: Connection) -> Callable[[bytes], object]:
    fields = {
        "brokerId": "0", "clusterName": "C", "brokerAddr": "127.0.0.9:1", "brokerName": "b",
        "haServerAddr": "127.0.0.9:2",
    }  # fmt: skip

    def read(data: bytes) -> object:
        return read_registration(Request(RemotingCommand(103, dict(fields), data), connection))

    return read


def _route_again(data: bytes) -> None:
    """A route that was read is written and read again as the same."""
    route = TopicRouteData.from_json(data)
    again = TopicRouteData.from_json(route.to_json())
    if again != route:
        raise AssertionError("a route changes when written again")


def _rows(data: bytes) -> None:
    """The same of a table of topics, and of any object."""
    told = read_object(data, "a body")
    version, topics = topics_from_json(as_object(told.get("topicConfigSerializeWrapper"), "a wrapper"))
    if topics_from_json(json.loads(write_json(topics_to_json(version, topics)))) != (version, topics):
        raise AssertionError("a table of topics changes when written again")
