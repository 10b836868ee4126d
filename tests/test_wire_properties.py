"""Frames, commands and headers under every value and every cut; and what garbage may do: nothing."""

import asyncio
import dataclasses
import json
import random
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mq.sim.simulation import Simulation
from mq.wire.codec import HEADER_MAX_LENGTH, decode_frame, encode_frame
from mq.wire.command import RemotingCommand
from mq.wire.errors import FrameError, HeaderError
from mq.wire.frame import FRAME_MAX_LENGTH, FrameProtocol
from mq.wire.headers import decode_header, encode_header, wire_name
from mq.wire.rpc import Processors, Request
from mq.wire.server import RpcServer
from tests.wire_rig import RawPeer, connection_by_hand, framed, reasons, request

INT32 = st.integers(-(1 << 31), (1 << 31) - 1)
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
EXT = st.none() | st.dictionaries(st.text(), st.text(), max_size=8)
COMMANDS = st.builds(
    RemotingCommand,
    code=INT32,
    ext_fields=EXT,
    body=st.binary(max_size=200),
    opaque=INT32,
    flag=INT32,
    remark=st.none() | st.text(),
    language=st.text(min_size=1, max_size=9),
    version=INT32,
)


@given(COMMANDS)
def test_a_command_that_is_encoded_and_decoded_is_the_same_command(command: RemotingCommand) -> None:
    """Every text, quotes, control characters and emoji included; an empty remark is not an absent one."""
    assert decode_frame(encode_frame(command)[4:]) == command


@given(COMMANDS)
def test_a_header_is_json_in_alphabetical_order_without_spaces(command: RemotingCommand) -> None:
    """The template writes what a JSON encoder would write, key by key."""
    frame = encode_frame(command)
    header = frame[8 : 8 + int.from_bytes(frame[5:8], "big")]
    fields = json.loads(header)
    assert list(fields) == sorted(fields)
    assert json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode() == header


@dataclasses.dataclass(frozen=True)
class EveryType:
    """A header with a field of each type, needed and not, named by the rule and otherwise."""

    topic_name: str
    queue_id: int
    is_order: bool
    queue_offset: int | None = None
    remark_text: str | None = None
    from_check: bool | None = None
    read_queue_nums: int = 16
    short: str = wire_name("b", "x")
    must: int = wire_name("z", 0)


HEADERS = st.builds(
    EveryType,
    topic_name=st.text(),
    queue_id=INT64,
    is_order=st.booleans(),
    queue_offset=st.none() | INT64,
    remark_text=st.none() | st.text(),
    from_check=st.none() | st.booleans(),
    read_queue_nums=INT64,
    short=st.text(),
    must=INT64,
)


@given(HEADERS)
def test_a_typed_header_that_is_encoded_and_decoded_is_the_same_header(header: EveryType) -> None:
    """Also over the wire, where everything is text; None is left out."""
    ext = encode_header(header)
    assert all(isinstance(value, str) for value in ext.values())
    optional = {"queueOffset", "remarkText", "fromCheck"}
    assert set(ext) - optional == {"topicName", "queueId", "isOrder", "readQueueNums", "b", "z"}
    travelled = decode_frame(encode_frame(RemotingCommand(1, ext))[4:]).ext_fields
    assert decode_header(EveryType, travelled) == header


NEEDED = {"topicName": "T", "queueId": "1", "isOrder": "true"}


def test_what_a_header_does_not_know_is_ignored_and_what_is_not_there_has_its_default() -> None:
    """Newer clients send more, older ones less."""
    assert decode_header(EveryType, NEEDED | {"lo": "true"}) == EveryType("T", 1, True)


@pytest.mark.parametrize(
    ("ext", "sentence"),
    [
        (None, "EveryType lacks topicName"),
        ({"topicName": "T", "isOrder": "true"}, "EveryType lacks queueId"),
        (NEEDED | {"queueId": "one"}, "queueId is 'one', not a number"),
        (NEEDED | {"queueId": ""}, "queueId is '', not a number"),
        (NEEDED | {"queueId": "1.5"}, "queueId is '1.5', not a number"),
        (NEEDED | {"queueId": "9" * 5000}, "not a number"),
        (
            NEEDED | {"queueOffset": str(1 << 63)},
            "queueOffset is 9223372036854775808, which 64 bits cannot hold",
        ),
    ],
)
def test_a_header_that_lacks_a_field_or_holds_a_wrong_one_is_named(
    ext: dict[str, str], sentence: str
) -> None:
    """The sentence becomes the remark of an answer with code 1."""
    with pytest.raises(HeaderError, match=sentence) as raised:
        decode_header(EveryType, ext)
    assert raised.value.response_code == 1


@pytest.mark.parametrize(("text", "value"), [("true", True), ("1", True), ("false", False), ("0", False)])
def test_booleans_of_java_and_of_cpp_clients_are_read(text: str, value: bool) -> None:
    """C++ clients write 1 and 0."""
    assert decode_header(EveryType, NEEDED | {"isOrder": text}).is_order is value


# A stream, however it is cut.


class Collecting(FrameProtocol):
    """Keeps what it gets, and counts the bytes that were searched for frames: each was copied for it."""

    def __init__(self, sim: Simulation) -> None:
        super().__init__(sim.node("server"))
        self.payloads: list[bytes] = []
        self.searched_bytes = 0

    def frame_received(self, payload: bytes) -> None:
        self.payloads.append(payload)

    def _pass_on(self, data: bytes) -> int:
        self.searched_bytes += len(data)
        return super()._pass_on(data)


@pytest.fixture
def sim() -> Iterator[Simulation]:
    with Simulation() as simulation:
        yield simulation


PAYLOADS = st.lists(st.binary(max_size=40), max_size=12)


@given(payloads=PAYLOADS, data=st.data())
def test_any_cut_of_a_stream_gives_the_same_frames(payloads: list[bytes], data: st.DataObject) -> None:
    """Whole, byte by byte, and cut at random; empty frames included."""
    stream = b"".join(len(payload).to_bytes(4, "big") + payload for payload in payloads)
    drawn = data.draw(st.sets(st.integers(1, max(len(stream) - 1, 1)), max_size=10), label="cuts")
    for cuts in [set(), set(range(1, len(stream))), drawn]:
        edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
        with Simulation() as sim:
            protocol = Collecting(sim)
            for start, end in pairwise(edges):
                protocol.data_received(stream[start:end])
        assert protocol.payloads == payloads, f"cut at {edges}"


def test_a_large_frame_in_pieces_of_one_byte_is_copied_once(sim: Simulation) -> None:
    """Else a megabyte, byte by byte, would be copied half a million megabytes' worth."""
    protocol, payload = Collecting(sim), random.Random(1).randbytes(1 << 16)
    for byte in len(payload).to_bytes(4, "big") + payload:
        protocol.data_received(bytes([byte]))
    assert protocol.payloads == [payload]
    assert protocol.searched_bytes < len(payload) + 16, f"searched {protocol.searched_bytes:,} bytes"


def test_what_follows_a_large_frame_in_the_same_read_is_not_lost(sim: Simulation) -> None:
    """The end of one frame and the beginning of the next come together."""
    protocol = Collecting(sim)
    stream = b"".join(len(p).to_bytes(4, "big") + p for p in (b"a" * 70_000, b"b", b"", b"c" * 9))
    for start in range(0, len(stream), 65_536):
        protocol.data_received(stream[start : start + 65_536])
    assert [len(payload) for payload in protocol.payloads] == [70_000, 1, 0, 9]


# Garbage.

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
HEADER_KEYS = st.sampled_from(
    ["code", "flag", "opaque", "version", "remark", "language", "extFields", "more"]
)


def only_frame_errors(payload: bytes) -> None:
    """Decode; whatever passes must be fit for answering, for typed headers and for files."""
    try:
        command = decode_frame(payload)
    except FrameError as error:
        assert error.remark
        return
    encode_frame(command)
    for text in [command.language, command.remark or "", *(command.ext_fields or {}).values()]:
        text.encode()


@given(st.binary(max_size=300))
@example(b"\x00\x00\x00\x02{}")
def test_random_bytes_raise_nothing_but_a_frame_error(payload: bytes) -> None:
    """Bytes that nobody meant as a frame."""
    only_frame_errors(payload)


@given(st.dictionaries(HEADER_KEYS, JSON_VALUES) | JSON_VALUES)
@example({"extFields": {"a": "\ud800"}})
@example({"remark": "\udfff"})
@example({"language": ["\ud800"]})
def test_a_header_of_any_json_raises_nothing_but_a_frame_error(value: object) -> None:
    """JSON of a wrong shape, with numbers that Java has not, and text that UTF-8 has not."""
    only_frame_errors(framed(json.dumps(value).encode())[4:])


@given(COMMANDS, st.data())
def test_a_frame_with_flipped_bytes_raises_nothing_but_a_frame_error(
    command: RemotingCommand, data: st.DataObject
) -> None:
    """Bytes that were a frame."""
    payload = bytearray(encode_frame(command)[4:])
    for at in data.draw(st.sets(st.integers(0, len(payload) - 1), min_size=1, max_size=4)):
        payload[at] ^= data.draw(st.integers(1, 255))
    only_frame_errors(bytes(payload))


@pytest.mark.parametrize("field", ["code", "language", "extFields", "a"])
def test_nesting_of_any_depth_raises_nothing_but_a_frame_error(field: str) -> None:
    """Some depths can be read and cannot be written again, which is what text needs that holds a list."""
    for depth in [1, 2, 10, *range(100, 1500, 23), 10_000, 100_000]:
        nested = b"[" * depth + b"]" * depth
        header = (
            b'{"extFields":{"a":%s}}' % nested if field == "a" else b'{"%s":%s}' % (field.encode(), nested)
        )
        only_frame_errors(framed(header)[4:])


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_a_connection_fed_with_garbage_is_open_or_has_closed_with_one_reason(pieces: list[bytes]) -> None:
    """Never an exception, never two reasons, never closed without one."""
    with Simulation() as sim:
        connection, transport = connection_by_hand(sim, Processors())
        for piece in pieces:
            if not transport.closing:
                connection.data_received(piece)
        assert len(reasons(sim)) == transport.closing


DEEP = b"[" * 100_000
TOO_LONG = FRAME_MAX_LENGTH + 1

HOSTILE = {
    "length 0": (bytes(4), "frame of 0 bytes: too short for a header length"),
    "length 1": (b"\0\0\0\1x", "frame of 1 bytes: too short"),
    "length 2": (b"\0\0\0\2xx", "frame of 2 bytes: too short"),
    "length 3": (b"\0\0\0\3xxx", "frame of 3 bytes: too short"),
    "length -1": (b"\xff\xff\xff\xff", "frame length -1; 0 to 16777216 are allowed"),
    "lowest length": (b"\x80\0\0\0", "frame length -2147483648"),
    "16 MiB + 1": (TOO_LONG.to_bytes(4, "big"), "frame length 16777217"),
    "HTTP": (b"GET / HTTP/1.1\r\n\r\n", "frame length 1195725856"),
    "TLS": (bytes.fromhex("16030100f8010000f4"), "frame length 369295616"),
    "header longer than its frame": (b"\0\0\0\6\0\0\0\3{}", "header of 3 bytes in a frame of 6"),
    "header over the limit": (
        framed(b" " * (HEADER_MAX_LENGTH + 1)),
        "header of 262145 bytes; at most 262144",
    ),
    "a short binary header": (b"\0\0\0\6\1\0\0\2{}", "header is no binary header"),
    "codec 2": (b"\0\0\0\6\2\0\0\2{}", "unknown header codec 2"),
    "codec 255": (b"\0\0\0\6\xff\0\0\2{}", "unknown header codec 255"),
    "no header": (framed(b""), "header is not JSON"),
    "no JSON": (framed(b"hello"), "header is not JSON"),
    "cut JSON": (framed(b'{"code":3'), "header is not JSON"),
    "two headers": (framed(b"{}{}"), "header is not JSON: 2 characters follow its end"),
    "a list": (framed(b"[1]"), "header is list, not an object"),
    "a string": (framed(b'"x"'), "header is str, not an object"),
    "a number": (framed(b"1"), "header is int, not an object"),
    "null": (framed(b"null"), "header is NoneType, not an object"),
    "invalid UTF-8": (framed(b'{"remark":"\xff"}'), "header is not JSON"),
    "overlong UTF-8": (framed(b'{"remark":"\xc0\xaf"}'), "header is not JSON"),
    "half a pair": (framed(b'{"extFields":{"a":"\\ud800"}}'), "surrogates not allowed"),
    "half a pair, capital": (framed(b'{"extFields":{"a":"x","b":"\\uDFFF"}}'), "surrogates not allowed"),
    "half a pair, nested": (framed(b'{"extFields":{"a":["\\ud800"]}}'), "surrogates not allowed"),
    "half a pair as remark": (framed(b'{"remark":"\\ud800"}'), "surrogates not allowed"),
    "NaN": (framed(b'{"code":NaN}'), "NaN is no JSON value"),
    "Infinity": (framed(b'{"extFields":{"a":Infinity}}'), "Infinity is no JSON value"),
    "-Infinity": (framed(b'{"version":-Infinity}'), "-Infinity is no JSON value"),
    "1e999": (framed(b'{"code":1e999}'), "header field code is 'inf', not a 32-bit integer"),
    "33 bits": (
        framed(b'{"opaque":2147483648}'),
        "header field opaque is '2147483648', not a 32-bit integer",
    ),
    "5,000 digits": (framed(b'{"opaque":' + b"9" * 5000 + b"}"), "header is not JSON"),
    "code as text": (framed(b'{"code":"10"}'), "header field code is '10', not a 32-bit integer"),
    "code true": (framed(b'{"code":true}'), "header field code is 'True', not a 32-bit integer"),
    "code null": (framed(b'{"code":null}'), "header field code is 'None', not a 32-bit integer"),
    "deep": (framed(DEEP), "header is not JSON"),
    "deep code": (framed(b'{"code":' + DEEP), "header is not JSON"),
    "deep extFields": (framed(b'{"extFields":{"a":' + DEEP), "header is not JSON"),
    "extFields a list": (framed(b'{"extFields":["a"]}'), "extFields is list, not an object"),
    "extFields a string": (framed(b'{"extFields":"a"}'), "extFields is str, not an object"),
    "extFields a number": (framed(b'{"extFields":5}'), "extFields is int, not an object"),
    "extFields false": (framed(b'{"extFields":false}'), "extFields is bool, not an object"),
}


def echo(request: Request) -> None:
    """Answers with what came."""
    request.succeed(dict(request.ext_fields), request.body)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_frame_closes_its_own_connection_with_one_reason_and_no_other(
    name: str, sim: Simulation
) -> None:
    """What came before it on the same connection is answered; the others are served on."""
    stream, reason = HOSTILE[name]
    server = RpcServer(sim.node("server", "10.0.0.1"))
    server.processors[7] = echo

    async def main() -> tuple[RawPeer, RawPeer]:
        await server.start(9876)
        good = await sim.node("good").connect("10.0.0.1:9876", RawPeer)
        bad = await sim.node("bad").connect("10.0.0.1:9876", RawPeer)
        good.transport.write(request(7, 1))
        bad.transport.write(request(7, 1) + stream)
        await asyncio.sleep(1)
        good.transport.write(request(7, 2))
        await asyncio.sleep(1)
        return good, bad

    good, bad = sim.run(main, timeout_s=10)
    assert [reply.opaque for reply in bad.replies] == [1], "the request before the garbage has its answer"
    assert [reply.opaque for reply in good.replies] == [1, 2], "the other connection is served on"
    assert good.is_open and not bad.is_open, "garbage must close the connection it came on, and only that"
    assert len(reasons(sim)) == 1 and reason in reasons(sim)[0], reasons(sim)
    assert not sim.failures


@pytest.mark.parametrize(
    ("header", "ext"),
    [
        (b'{"code":7,"extFields":{"a":"1","a":"2"}}', {"a": "2"}),
        (b'{"code":1,"code":7,"extFields":{}}', {}),
        (b'{"code":7,"extFields":{"a":1e999}}', {"a": "Infinity"}),
        (b'{"code":7,"extFields":{"a":12345678901234567890123}}', {"a": "12345678901234567890123"}),
        (
            b'{"code":7,"extFields":{"a":null,"b":true,"c":false,"d":-5}}',
            {"b": "true", "c": "false", "d": "-5"},
        ),
        (b'{"code":7,"extFields":{"a":{"b":[1,true]}}}', {"a": '{"b":[1,true]}'}),
        (b'{"code":7,"extFields":{"a":"\\ud83d\\ude00"}}', {"a": "\U0001f600"}),
        (b'{"code":7,"extFields":null,"remark":5,"language":"COBOL","more":[]} \r\n\t', {}),
        (b'{"code":7}', {}),
    ],
)
def test_an_odd_header_that_can_be_understood_is_served(
    header: bytes, ext: dict[str, str], sim: Simulation
) -> None:
    """Duplicate keys (the last one counts, as in Java), numbers, nested values, nulls, unknown languages."""
    processors = Processors()
    processors.table[7] = echo
    connection, transport = connection_by_hand(sim, processors)
    connection.data_received(framed(header))
    assert not transport.closing, reasons(sim)
    reply = decode_frame(transport.written[4:])
    assert (reply.code, reply.ext_fields) == (0, ext)
