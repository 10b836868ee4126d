"""Tuned headers and sends give what their plain twins give, also when they are made to deceive them.

A tuned function may give up (None: "ask the twin"), but where it answers, the twin's answer is the same.
Beside each property stands a test that the usual case is answered: one that always gave up would fail there.
"""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mq.commitlog.fastsend import known_message
from mq.commitlog.hosts import encode_host
from mq.commitlog.message import decode_properties
from mq.commitlog.put import InnerMessage, words_of
from mq.commitlog.send import SendMessageProcessor
from mq.routing.broker import Broker
from mq.routing.topics import TopicConfig
from mq.runtime.errors import MQError
from mq.sim.simulation import Simulation
from mq.system import build_broker
from mq.wire.command import RemotingCommand
from mq.wire.errors import FrameError
from mq.wire.json_header import JsonHeader
from mq.wire.knownheaders import LEAST_SEEN, KnownCommand, KnownHeaders, shape_of
from mq.wire.rpc import Connection, Request
from tests.wire_rig import NotingTransport, captures, frames_in

PROPERTIES = (
    "KEYS\x01order-1\x02UNIQ_KEY\x017F0000012FC02DC9FE70000000000001\x02WAIT\x01true\x02TAGS\x01TagA\x02"
)

# ---------------------------------------------------------------- headers


def framed(header: bytes, body: bytes = b"body") -> bytes:
    """A frame's payload with this JSON header."""
    return len(header).to_bytes(4, "big") + header + body


def send_header(number: int = 7, text: str = PROPERTIES, **changes: Any) -> str:
    """SEND_MESSAGE_V2 as a Java client writes it."""
    ext = {
        "a": "PG",
        "b": "flights",
        "c": "TBW102",
        "d": "4",
        "e": str(number % 4),
        "f": "0",
        "g": "1700000000000",
        "h": "0",
        "i": text,
        "j": "0",
        "k": "false",
        "m": "false",
        "n": "broker-a",
    }
    fields = {"code": 310, "extFields": {**ext, **changes}, "flag": 0, "language": "JAVA", "opaque": number}
    fields |= {"serializeTypeCurrentRPC": "JSON", "version": 409}
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)


PULL_HEADER = (
    '{"code":11,"extFields":{"queueId":"1","maxMsgNums":"32","sysFlag":"2","suspendTimeoutMillis":"15000",'
    '"commitOffset":"0","topic":"flights","queueOffset":"77","expressionType":"TAG","subVersion":"1700000000000",'
    '"consumerGroup":"CG","subscription":"*"},"flag":0,"language":"JAVA","opaque":3,'
    '"serializeTypeCurrentRPC":"JSON","version":409}'
)
REPLY_HEADER = (
    '{"code":0,"extFields":{"queueId":"3","TRACE_ON":"true","MSG_REGION":"DefaultRegion","msgId":"0A000001",'
    '"queueOffset":"12"},"flag":1,"language":"JAVA","opaque":5,"serializeTypeCurrentRPC":"JSON","version":409}'
)
BARE_NUMBERS = (
    '{"code":310,"language":"CPP","opaque":2,"flag":0,"version":121,"extFields":{"a":"PG","b":"T","c":"TBW102",'
    '"d":4,"e":1,"f":0,"g":1795369862493,"h":0,"i":"TAGS\\u0001TagA\\u0002KEYS\\u0001k1 k2\\u0002","j":0,'
    '"k":false}}\n'
)
BASES = [send_header(), send_header(text="TAGS\x01A"), PULL_HEADER, REPLY_HEADER, BARE_NUMBERS]
HOSTILE = [
    "",
    "7",
    "007",
    "-7",
    "1e5",
    "7.5",
    "NaN",
    "Infinity",
    "null",
    "true",
    '"',
    '\\"',
    "\\u0001",
    "\\u0002",
    "\\u0041",
    "\\n",
    "\\ud800",
    "\x01",
    "\t",
    "é",
    "中",
    "😀",
    "]",
    "}",
    "},",
    ":",
    ",",
    '"e":',
    '"e":"5",',
    '"opaque":9,',
    "{}",
    '"extFields":{},',
    "9" * 9,
    "9" * 10,
    "9" * 18,
    "9" * 19,
    "1" * 400,
    " ",
    "\\",
    "a\\u0001b\\u0002",
    "%s",
    "%",
]


def learned(header: str) -> KnownHeaders:
    """A connection that has seen this header so often that it knows its shape."""
    known, payload = KnownHeaders(), framed(header.encode())
    for _ in range(LEAST_SEEN):
        assert known.decode(payload) is None
        known.learn(payload)
    return known


PLACES = r'"\w+":("([^"]*)"|\d+)', r"(?<=\\u0001)([^\"\\]*)(?=\\u0002)"
LEARNED = {base: learned(base) for base in BASES}


def parts(command: RemotingCommand) -> tuple[object, ...]:
    """All that a command says, with the order of its own fields."""
    ext = None if command.ext_fields is None else list(command.ext_fields.items())
    named = command.code, ext, command.opaque, command.flag, command.remark, command.language, command.version
    return (*named, command.serialize_type, command.body)


def plainly(payload: bytes) -> tuple[object, ...]:
    """What the plain decoder says of a payload. Raises FrameError."""
    end = 4 + int.from_bytes(payload[:4], "big")
    command = JsonHeader().decode(payload[4:end])
    command.body = payload[end:]
    return parts(command)


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, str]:
    """A header that is known, and one that differs from it in up to three places."""
    base = header = draw(st.sampled_from(BASES))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(header)))
        stop = start + draw(st.one_of(st.just(0), st.integers(0, 12)))
        header = (
            header[:start] + draw(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=3))) + header[stop:]
        )
    return base, header


@st.composite
def revalued(draw: st.DrawFn) -> tuple[str, str]:
    """A header that is known, and one with other values in it, of which many are strange."""
    base = draw(st.sampled_from(BASES))
    header = json.loads(base)
    if draw(st.booleans()):
        header["opaque"] = draw(
            st.one_of(st.integers(-(2**33), 2**33), st.sampled_from([0, 1.5, None, "7", True]))
        )
    ext = header["extFields"]
    for name in draw(st.lists(st.sampled_from(sorted(ext)), max_size=4)):
        ext[name] = draw(
            st.one_of(
                st.integers(0, 2**70).map(str),
                st.sampled_from(HOSTILE),
                st.text(max_size=8),
                st.integers(-9, 2**70),
                st.just(PROPERTIES.replace("order", "another")),
                st.none(),
                st.booleans(),
                st.floats(),
            )
        )
    return base, json.dumps(header, separators=(",", ":"), ensure_ascii=draw(st.booleans()))


@given(st.one_of(damaged(), revalued()))
@settings(max_examples=1000)
def test_a_header_of_a_known_shape_says_what_the_plain_decoder_reads(pair: tuple[str, str]) -> None:
    base, header = pair
    payload = framed(header.encode("utf-8", "surrogatepass"))
    fast = LEARNED[base].decode(payload)
    if fast is not None:
        assert parts(fast) == plainly(payload)


@pytest.mark.parametrize("base", BASES)
def test_a_kind_of_header_is_known_from_its_seventeenth_on_whatever_its_values(base: str) -> None:
    header = json.loads(base)
    ext = header["extFields"]
    header["opaque"] = 123_456_789
    for name in {"b", "topic"} & ext.keys():
        ext[name] = "中-%RETRY%other"
    for name in {"e", "queueId", "queueOffset", "commitOffset"} & ext.keys():
        ext[name] = type(ext[name])(6)
    for name in {"i"} & ext.keys():
        ext[name] = ext[name].replace("TagA", "a tag of é").replace("\x01A", "\x01B")
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False) + (
        "\n" if base.endswith("\n") else ""
    )
    payload = framed(text.encode())
    fast = learned(base).decode(payload)
    assert fast is not None, "another value of the same kind fits the shape"
    assert parts(fast) == plainly(payload)


def test_a_value_of_every_strange_kind_in_every_place_is_read_as_the_plain_decoder_reads_it() -> None:
    """Raw JSON put where a value stood: between its quotes, in place of it with its quotes, in a property."""
    answered = 0
    for base in BASES:
        spans = [
            found.span(group)
            for pattern in PLACES
            for found in re.finditer(pattern, base)
            for group in range(1, found.re.groups + 1)
        ]
        for start, stop in spans:
            for raw in HOSTILE if start >= 0 else ():
                header = base[:start] + raw + base[stop:]
                payload = framed(header.encode())
                fast = LEARNED[base].decode(payload)
                if fast is not None:
                    answered += 1
                    assert parts(fast) == plainly(payload), f"{base[start:stop]} became {raw!r}"
    assert answered > 150


def test_every_captured_header_that_has_a_shape_is_read_as_the_plain_decoder_reads_it() -> None:
    found = 0
    for capture in captures():
        shape = shape_of(capture.header) if capture.header.startswith(b"{") else None
        if shape is not None:
            fits = shape.match(capture.header.decode())
            assert fits is not None
            assert (
                parts(KnownCommand(shape, fits.groups(), b""))[:7]
                == parts(JsonHeader().decode(capture.header))[:7]
            )
            found += 1
    assert found > 100


@pytest.mark.parametrize(
    ("why", "header"),
    [
        ("a name twice", send_header().replace('"e":"3"', '"e":"3","e":"4"')),
        ("another opaque in extFields", send_header(opaque="1")),
        ("extFields twice", send_header()[:-1] + ',"extFields":{"e":"9"}}'),
        ("a value inside a value", send_header(x={"e": "1"}).replace('"e":"3",', "")),
        ("an opaque in extFields alone", '{"code":310,"extFields":{"opaque":"7"}}'),
        ("no opaque", '{"code":310,"extFields":{"e":"1"}}'),
        ("a longer opaque", send_header(10**11)),
    ],
)
def test_a_header_whose_values_cannot_be_told_apart_has_no_shape(why: str, header: str) -> None:
    try:
        assert shape_of(header.encode()) is None, why
    except FrameError:
        pytest.fail(f"{why}: the plain decoder decides that, not the shape")


def test_a_frame_that_ends_in_its_header_is_left_to_the_plain_decoder() -> None:
    known, header = learned(send_header()), send_header().encode()
    assert known.decode(framed(header, b"")) is not None
    assert known.decode((len(header) + 5).to_bytes(4, "big") + header) is None
    assert known.decode(b"\x01" + framed(header)[1:]) is None, "another codec"
    for length in range(4 + len(header)):
        assert known.decode(framed(header)[:length]) is None


def test_a_peer_that_always_writes_other_words_is_learned_ever_more_rarely() -> None:
    known, made = KnownHeaders(), 0
    for number in range(5_000):
        payload = framed(send_header(a=f"group-{number}").encode())
        assert known.decode(payload) is None
        before = known._shapes.get(payload[4:20], [None])[0]
        known.learn(payload)
        made += known._shapes.get(payload[4:20], [None])[0] is not before
    assert made == 9  # at 16, 32 … 4096
    assert sum(map(len, known._shapes.values())) == 4


# ---------------------------------------------------------------- sends


class SendRig:
    """A broker of chapter 2 whose sends are made into messages both ways, and not stored."""

    def __init__(self, sim: Simulation) -> None:
        self.broker: Broker = build_broker(sim.node("broker"), {}, chapter=2)
        sim.run(sim.on("broker", self.broker.start()), timeout_s=60)
        self.broker.topics.put(TopicConfig("flights", 4, 4))
        sim.run(asyncio.sleep(0.1))
        self.sends = self.broker.part(SendMessageProcessor)
        self.connection = Connection(sim.node("broker"), self.broker.server.registry)
        self.connection.connection_made(NotingTransport())
        self.store_host = encode_host(self.broker.address)

    def both(self, base: str, header: str) -> tuple[object, object]:
        """What the fast way makes of the second header, and what the plain way does; None: it gave up."""
        known = learned(base)
        commands = [known.decode(framed(each.encode())) for each in (base, header, header)]
        fast: list[InnerMessage | None] = [
            known_message(Request(command, self.connection), command, self.broker, self.store_host)
            for command in commands
            if command is not None
        ]
        if len(fast) < 3 or fast[-1] is None:
            return None, None
        request = Request(JsonHeader().decode(header.encode()), self.connection)
        request.command.body = b"body"
        try:
            plain = self.sends.message_of(request, self.sends.header_of(request))
        except MQError as error:
            return fields_of(fast[-1]), f"refused: {error}"
        return fields_of(fast[-1]), fields_of(plain)


def fields_of(message: InnerMessage) -> dict[str, object]:
    """Everything that a message holds, the words that derived stores are told among it."""
    words = message.known_words or words_of(decode_properties(message.properties_text))
    names = [name for name in InnerMessage.__slots__ if name not in ("words", "_properties")]
    return {
        "words": words,
        **{name: getattr(message, name) for name in names},
        "properties": message.properties,
    }


LONG_NAMES = {
    "a": "producerGroup",
    "b": "topic",
    "c": "defaultTopic",
    "d": "defaultTopicQueueNums",
    "e": "queueId",
    "f": "sysFlag",
    "g": "bornTimestamp",
    "h": "flag",
    "i": "properties",
    "j": "reconsumeTimes",
    "k": "unitMode",
    "m": "batch",
}


def long_header(header: str) -> str:
    """The same send as SEND_MESSAGE (10), under long names."""
    fields = json.loads(header)
    fields["code"] = 10
    fields["extFields"] = {LONG_NAMES.get(name, name): value for name, value in fields["extFields"].items()}
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)


NAMES = ["KEYS", "TAGS", "UNIQ_KEY", "WAIT", "CLUSTER", "a", "%s", "中"]
VALUES = ["true", "false", "v", "a b", "%d", "é", "0"]
PROPERTY_LISTS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), min_size=1, max_size=5)


@st.composite
def two_sends(draw: st.DrawFn) -> tuple[str, str]:
    """Two headers of one producer: the words are the same, the values are not."""
    names = [name for name, _ in draw(PROPERTY_LISTS)]
    end = draw(st.sampled_from(["", "\x02"]))
    changes = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "f": st.sampled_from(["0", "1", "4", "8", "48"]),
                "h": st.sampled_from(["5", "-1"]),
                "j": st.just("3"),
                "m": st.sampled_from(["true", "0"]),
                "d": st.just("x"),
                "l": st.just("16"),
            },
        )
    )

    def header(number: int, topic: str) -> str:
        values = [draw(st.sampled_from(VALUES)) for _ in names]
        pairs = [f"{name}\x01{value}" for name, value in zip(names, values, strict=True)]
        return send_header(number, "\x02".join(pairs) + end, **{**changes, "b": topic, "e": str(number)})

    return header(1, "flights"), header(
        draw(st.integers(0, 6)), draw(st.sampled_from(["flights", "unknown", "SCHEDULE_TOPIC_XXXX", ""]))
    )


@given(st.lists(two_sends(), min_size=1, max_size=6), st.booleans())
@settings(max_examples=60)
def test_a_send_of_a_known_shape_becomes_the_message_that_the_plain_way_makes(
    pairs: list[tuple[str, str]], long: bool
) -> None:
    with Simulation() as sim:
        rig = SendRig(sim)
        for base, header in pairs:
            if long:
                base, header = long_header(base), long_header(header)
            fast, plain = rig.both(base, header)
            assert fast == plain


@pytest.mark.parametrize("change", [lambda text: text, long_header], ids=["310", "10"])
def test_the_usual_send_is_taken_the_fast_way(change: Callable[[str], str]) -> None:
    with Simulation() as sim:
        rig = SendRig(sim)
        fast, plain = rig.both(
            change(send_header(1)), change(send_header(2, PROPERTIES.replace("true", "false")))
        )
        assert fast is not None and fast == plain
        assert isinstance(fast, dict) and (fast["queue_id"], fast["wait_store_ok"]) == (2, False)
        batch = change(send_header(1, m="true"))
        assert rig.both(batch, batch) == (None, None), "a batch goes the plain way"


# ---------------------------------------------------------------- all of it together


def test_a_thousand_sends_of_one_producer_leave_the_files_that_the_plain_way_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Through the wire, queues and index included; the plain way is taken by knowing no header."""

    def run() -> tuple[list[Any], list[bytes]]:
        with Simulation() as sim:
            node = sim.node("broker")
            broker = build_broker(node, {"mappedFileSizeCommitLog": "65536"}, chapter=3)
            sim.run(sim.on("broker", broker.start()), timeout_s=60)
            broker.topics.put(TopicConfig("flights", 4, 4))
            sim.run(asyncio.sleep(0.1))
            connection, transport = Connection(node, broker.server.registry), NotingTransport()
            connection.connection_made(transport)
            for first in range(0, 1000, 50):
                texts = [
                    PROPERTIES.replace("order-1", f"order-{number}") for number in range(first, first + 50)
                ]
                payloads = [
                    framed(send_header(first + number, text).encode()) for number, text in enumerate(texts)
                ]
                connection.data_received(b"".join(len(each).to_bytes(4, "big") + each for each in payloads))
            sim.run(asyncio.sleep(61))  # everything is written, and synced
            disk = node.disk
            names = [f"commitlog/{name}" for name in disk.list("commitlog")]
            names += [f"consumequeue/flights/{number}/{0:020d}" for number in range(4)]
            index = disk.list("index")
            names += [f"index/{name}" for name in index]
            replies = [(reply.opaque, reply.ext_fields) for reply in frames_in(transport.written)]
            return replies, [_beginning(disk, name) for name in names]

    fast = run()
    with monkeypatch.context() as patched:
        patched.setattr(KnownHeaders, "decode", lambda known, payload: None)
        plain = run()
    assert len(fast[0]) == 1000
    assert fast == plain


def _beginning(disk: Any, name: str) -> bytes:
    """A file's first 8 MiB, without the holes at its end."""
    file = disk.open(name)
    data: bytes = file.read_at(0, min(file.length(), 8 << 20))
    file.close()
    return data.rstrip(b"\0")
