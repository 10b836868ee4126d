"""Conformance: the frames of real peers, captured on loopback, against our codec."""

import dataclasses
import json

import pytest

from mq.wire.codec import decode_frame, encode_frame
from mq.wire.codes import RequestCode, request_name, response_name
from mq.wire.command import RemotingCommand
from mq.wire.headers import decode_header, encode_header, wire_name
from tests.wire_rig import FRAMES, REAL, Capture, captures

ALL = captures()
COMPLETE = [capture for capture in ALL if capture.body_is_known]
FROM_JAVA = [capture for capture in ALL if capture.source == REAL and capture.fields["version"] == 409]


def as_java_prints(value: object) -> str:
    """A JSON value as it reads in a Java `HashMap<String, String>`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    assert isinstance(value, (int, str)), f"no client was seen to send a {type(value).__name__}"
    return str(value)


def test_the_data_hold_every_captured_frame_and_say_where_they_come_from() -> None:
    """194 frames, 79 of them around the real broker; 58 were cut, and all but 3 bodies are known whole."""
    by_source = {path.stem: 0 for path in FRAMES.glob("*.jsonl")}
    for capture in ALL:
        by_source[capture.source] += 1
    assert by_source == {
        "ali-ons-3.12.0": 49,
        "librocketmq-1.x": 23,
        "librocketmq-2.1.0": 26,
        "librocketmq-2.1.0-transactions": 17,
        REAL: 79,
    }
    assert (sum(not capture.whole for capture in ALL), len(ALL) - len(COMPLETE)) == (58, 3)
    assert sum(not capture.whole for capture in ALL if capture.source == REAL) == 28
    for path in FRAMES.glob("*.jsonl"):
        assert "captured from" in json.loads(path.read_text("utf-8").splitlines()[0])["note"]


@pytest.mark.parametrize("capture", ALL, ids=str)
def test_header_and_body_of_a_capture_are_those_of_its_bytes(capture: Capture) -> None:
    """What was put beside a cut hex belongs to it: both agree as far as the hex goes."""
    frame, seen = capture.frame, capture.seen
    assert seen == frame if capture.whole else frame.startswith(seen[: len(frame)]) and len(seen) >= 250


@pytest.mark.parametrize("capture", ALL, ids=str)
def test_a_captured_frame_decodes_to_the_values_that_java_would_have(capture: Capture) -> None:
    """Numbers and booleans of ali-ons, the C++ clients' `remark` and trailing newline, a broker's request."""
    command, fields = decode_frame(capture.frame[4:]), capture.fields
    ext = fields.get("extFields")
    expected = RemotingCommand(
        code=fields["code"],
        ext_fields=None if ext is None else {name: as_java_prints(value) for name, value in ext.items()},
        body=capture.body,
        opaque=fields["opaque"],
        flag=fields["flag"],
        remark=fields.get("remark"),
        language=fields["language"],
        version=fields["version"],
        serialize_type=0,
    )
    assert command == expected


@pytest.mark.parametrize("capture", FROM_JAVA, ids=str)
def test_a_frame_that_java_wrote_is_written_again_byte_for_byte(capture: Capture) -> None:
    """Broker, NameServer and Java clients: key order, escapes, absent fields, an empty `extFields`."""
    assert encode_frame(decode_frame(capture.frame[4:]))[4:] == capture.frame[4:]


def test_the_frames_written_again_are_those_of_the_real_broker() -> None:
    """44 frames from NameServer and broker, and 3 from Java's side of a client; none of ours is left out."""
    towards = [capture.direction for capture in FROM_JAVA]
    assert (towards.count("S>C"), towards.count("C>S")) == (44, 3)
    assert sum(capture.direction == "S>C" for capture in ALL if capture.source == REAL) == 44


def test_cpp_clients_end_their_header_with_a_newline_and_carry_an_empty_remark() -> None:
    """An empty remark is text and not the absence of one; the newline is not part of the body."""
    from_cpp = [capture for capture in COMPLETE if capture.fields["language"] == "CPP"]
    assert len(from_cpp) == 69
    for capture in from_cpp:
        command = decode_frame(capture.frame[4:])
        assert capture.header.endswith(b"}\n")
        assert (command.remark, command.body) == ("", capture.body)


@dataclasses.dataclass(frozen=True)
class SendHeader:
    """A part of SEND_MESSAGE_V2's header, here for its types alone."""

    group: str = wire_name("a")
    queue_id: int = wire_name("e")
    born_timestamp_ms: int = wire_name("g")
    properties: str | None = wire_name("i", None)
    unit_mode: bool = wire_name("k", False)
    batch: bool = wire_name("m", False)
    broker_name: str | None = wire_name("n", None)


def test_the_sends_of_all_clients_give_headers_of_the_same_types() -> None:
    """`"g":1795…` and `"k":false` of ali-ons, `"g":"1795…"` and `"k":"0"` of the C++ clients."""
    sends = [capture for capture in COMPLETE if capture.fields["code"] == RequestCode.SEND_MESSAGE_V2]
    raw = [capture.fields["extFields"] for capture in sends]
    assert ({type(ext["g"]) for ext in raw}, {type(ext["k"]) for ext in raw}) == ({int, str}, {bool, str})
    for ext, capture in zip(raw, sends, strict=True):
        header = decode_header(SendHeader, decode_frame(capture.frame[4:]).ext_fields)
        expected = SendHeader(
            ext["a"], int(ext["e"]), int(ext["g"]), ext["i"], ext["k"] == "1", ext.get("m") == "1"
        )
        assert header == expected


# Made with RocketMQ's own classes, which is why the version is 0 (no process had set its own).
VECTOR_EXT = {
    "a": "PG",
    "b": "T",
    "c": "TBW102",
    "d": "4",
    "e": "0",
    "f": "0",
    "g": "1700000000000",
    "h": "0",
}
VECTOR_EXT |= {"i": "TAGS\x01TagA\x02", "j": "0", "k": "false", "m": "false", "n": "broker-a"}
VECTOR_HEADER = (
    b'{"code":310,"extFields":{"a":"PG","b":"T","c":"TBW102","d":"4","e":"0","f":"0","g":"1700000000000",'
    b'"h":"0","i":"TAGS\\u0001TagA\\u0002","j":"0","k":"false","m":"false","n":"broker-a"},"flag":0,'
    b'"language":"JAVA","opaque":7,"serializeTypeCurrentRPC":"JSON","version":0}'
)


def test_the_published_send_vector_is_written_byte_for_byte() -> None:
    """Length 0x112, header length 0x109, and 5 bytes left for the body `hello`."""
    frame = encode_frame(RemotingCommand(310, dict(VECTOR_EXT), b"hello", opaque=7, version=0))
    assert frame == bytes.fromhex("0000011200000109") + VECTOR_HEADER + b"hello"


def test_the_published_send_vector_is_read_and_its_typed_header_written_again() -> None:
    """Both ways through the typed header, in the order of the fields."""
    command = decode_frame(bytes.fromhex("00000109") + VECTOR_HEADER + b"hello")
    assert command == RemotingCommand(310, VECTOR_EXT, b"hello", opaque=7, version=0)
    header = decode_header(SendHeader, command.ext_fields)
    assert header == SendHeader("PG", 0, 1700000000000, "TAGS\x01TagA\x02", False, False, "broker-a")
    assert encode_header(header) == {name: VECTOR_EXT[name] for name in "aegikmn"}


def test_a_reply_without_fields_is_the_one_java_writes() -> None:
    """No `extFields` key at all, which is not the same as an empty one."""
    frame = encode_frame(RemotingCommand(0, flag=1, opaque=9, version=0))
    text = b'{"code":0,"flag":1,"language":"JAVA","opaque":9,"serializeTypeCurrentRPC":"JSON","version":0}'
    assert frame[8:] == text
    empty = encode_frame(RemotingCommand(0, {}, flag=1, opaque=9, version=0))
    assert empty[8:] == text.replace(b'"flag"', b'"extFields":{},"flag"')


def test_a_code_has_its_published_name_and_an_unknown_one_its_number() -> None:
    """Names are for journals and remarks; every captured request has one."""
    assert (request_name(310), request_name(9999)) == ("SEND_MESSAGE_V2", "9999")
    assert (response_name(17), response_name(-7)) == ("TOPIC_NOT_EXIST", "-7")
    for capture in ALL:
        if not capture.fields["flag"] & 1:
            assert request_name(capture.fields["code"]) == capture.what
