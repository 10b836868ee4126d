"""What may happen to bytes on their way: the mutators of the fuzzer, each drawn from a given Random.

`bytes_of` damages bytes without knowing what they are; `json_of` keeps a JSON text nearly whole and puts one
thing into it that a parser may not expect; `frame_of` takes a whole frame apart, damages one part and puts it
together again with lengths that fit, so that the damage gets past the framing.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

from mq.wire.codec import BINARY, JSON, decode_frame, encode_frame
from mq.wire.command import RemotingCommand
from mq.wire.errors import FrameError

INT32 = (0, 1, -1, 4, 21, 0x7FFFFFFF, -0x80000000, 0x7FFF, 0x10000, 1 << 24, -2, 91, 255)
INT64 = (0, 1, -1, (1 << 63) - 1, -(1 << 63), 1 << 32, 1 << 62, 1 << 40)

TEXTS = (
    "", "0", "1", "-1", "2147483647", "2147483648", "-2147483648", "9223372036854775807",
    "9223372036854775808", "-9223372036854775808", "9" * 5000, "1_000", " 5 ", "\u0663", "1.5", "1e3",
    "0x10", "NaN", "true", "false", "null", "\0", "a\0b", "../../etc", "/", ".", "..", "\\", "x" * 127,
    "x" * 128, "x" * 255, "x" * 70_000, "\x01", "\x02", "\x01\x02", "k\x01v\x02", "a\x01\x01\x02\x02",
    "%RETRY%", "%RETRY%CG", "%DLQ%", "TBW102", "SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRANS_HALF_TOPIC",
    "rmq_sys_x", "\u202e", "\U0001d4b3", "é中", "*", "||", "TagA || TagB", "|| " * 5000, "SQL92", "a > 1",
    "127.0.0.1:10911", "[::1]:1", "nowhere", ";" * 300, "Made", "CG", "\ufffd", "\ud7ff",
    "TAGS\x01T\x02KEYS\x01" + "k " * 3000 + "\x02", "WAIT\x01false\x02", "4", "8", "12", "16", "32", "48",
    "63", "256", "768", "1879048192",
)  # fmt: skip

BOMB = zlib.compress(bytes(1 << 24))  # 16 KiB that claim to be 16 MiB
DEEP = 30_000
TOKENS = (
    "{" * 40 + "}" + ":0}" * 39,
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000, "-" + "9" * 400, "1.5", "-0", "0.1e-400",
    "01", "9223372036854775808", "2147483648", "-1", "0", "true", "false", "null", "{}", "[]", '""',
    '"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"a\\u0000b"', "'x'", '"', "\\", "{", "[" * DEEP,
    "[" * DEEP + "]" * DEEP, '{"a":' * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP, "[" + "0," * 3000 + "0]",
    '"\\', '"' + "\\\"" * 9000, '"' + "x" * 70_000 + '"', '{0:"a:1"}', "{0:1,-1:2}", '{{"a":1}:2}',
    '{"0":"x","0":"y"}', "undefined", '"\x01"', '{"$ref":"$"}', '{"$ref":".."}', "\u00a0", '"2147483647"',
    '"CLUSTERING"', "1 2", ",", ":",
)  # fmt: skip
KEYS = (
    "",
    "0",
    "code",
    "extFields",
    "opaque",
    "flag",
    "\ud800",
    "\0",
    "__proto__",
    "@type",
    "$ref",
    "x" * 5000,
)


def bytes_of(data: bytes, draw: Random, other: bytes = b"") -> bytes:
    """Damage bytes; `other` is what may be spliced in."""
    return draw.choice(BYTE_MUTATORS)(data, draw, other)


def _flip(data: bytes, draw: Random, other: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 8))):
        if changed:
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _overwrite(data: bytes, draw: Random, other: bytes) -> bytes:
    width, values = draw.choice(((4, INT32), (4, INT32), (8, INT64)))
    at = draw.randrange(max(len(data) - width, 0) + 1)
    return data[:at] + draw.choice(values).to_bytes(width, "big", signed=True) + data[at + width :]


def _nudge(data: bytes, draw: Random, other: bytes) -> bytes:
    """A number that may be a length, off by a little."""
    if len(data) < 4:
        return data
    at, width = draw.randrange(len(data) - 3), draw.choice((1, 2, 4))
    value = int.from_bytes(data[at : at + width], "big") + draw.choice((-4, -2, -1, 1, 2, 4))
    return data[:at] + (value % (1 << 8 * width)).to_bytes(width, "big") + data[at + width :]


def _truncate(data: bytes, draw: Random, other: bytes) -> bytes:
    return data[: draw.randrange(len(data) + 1)]


def _cut_out(data: bytes, draw: Random, other: bytes) -> bytes:
    at = draw.randrange(len(data) + 1)
    return data[:at] + data[at + draw.choice((1, 2, 4, 20, 100)) :]


def _repeat(data: bytes, draw: Random, other: bytes) -> bytes:
    at = draw.randrange(len(data) + 1)
    return data[:at] + data[at : at + draw.choice((1, 4, 20, 200))] * draw.choice((2, 3, 50)) + data[at:]


def _splice(data: bytes, draw: Random, other: bytes) -> bytes:
    return data[: draw.randrange(len(data) + 1)] + other[draw.randrange(len(other) + 1) :]


def _insert(data: bytes, draw: Random, other: bytes) -> bytes:
    at = draw.randrange(len(data) + 1)
    return (
        data[:at]
        + draw.choice((draw.randbytes(draw.randrange(1, 40)), b"\0", b"\xff\xfe", b"\xed\xa0\x80"))
        + data[at:]
    )


def _zero(data: bytes, draw: Random, other: bytes) -> bytes:
    """As a page that was never written: zeros to the end, or for a while."""
    at = draw.randrange(len(data) + 1)
    length = min(draw.choice((1, 16, 512, 4096, len(data))), len(data) - at)
    return data[:at] + bytes(length) + data[at + length :]


ByteMutator = Callable[[bytes, Random, bytes], bytes]
BYTE_MUTATORS: tuple[ByteMutator, ...] = (
    _flip, _flip, _overwrite, _overwrite, _nudge, _truncate, _cut_out, _repeat, _splice, _insert, _zero,
)  # fmt: skip


def json_of(data: bytes, draw: Random) -> bytes:
    """A JSON text with one strange thing in it; bytes that are no JSON are damaged as bytes."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return bytes_of(data, draw)
    holder: dict[str, Any] = {"": value}
    places = list(_places(holder))
    inside, name = draw.choice(places)
    kind = draw.randrange(8)
    mark = "\x07mark\x07"
    if kind == 0 and len(places) > 1:
        del inside[name]
    elif kind == 1 and isinstance(inside, dict) and name:
        inside[draw.choice(KEYS)] = inside.pop(name)
    elif kind == 2 and isinstance(inside, dict):
        return _twice(holder, inside, name, draw)
    elif kind == 3:
        inside[name] = draw.choice(TEXTS)
    elif kind == 4 and isinstance(inside, list):
        inside.extend([inside[name]] * draw.choice((2, 100, 2_000)))
    else:
        inside[name] = mark
    text = json.dumps(holder.get("", ""), ensure_ascii=draw.random() < 0.5)
    return _encoded(text.replace(json.dumps(mark), draw.choice(TOKENS)))


def _twice(holder: dict[str, Any], inside: dict[str, Any], name: Any, draw: Random) -> bytes:
    """One name twice in an object: the last one counts, or it is refused; it must not be both."""
    mark = "\x07key\x07"
    inside[mark] = inside[name]
    text = json.dumps(holder.get("", holder))
    return _encoded(
        text.replace(
            json.dumps(mark), json.dumps(name) + ":" + draw.choice(TOKENS[:24]) + "," + json.dumps(name)
        )
    )


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _places(value: Any) -> Any:
    """Every (container, key) in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for name, each in list(items):
        yield value, name
        if isinstance(each, dict | list):
            yield from _places(each)


def framed(header: bytes, body: bytes, serialize_type: int) -> bytes:
    """A frame whose lengths fit, whatever the header is."""
    word = serialize_type << 24 | len(header) & 0xFFFFFF
    return (4 + len(header) + len(body)).to_bytes(4, "big") + word.to_bytes(4, "big") + header + body


def frame_of(frame: bytes, draw: Random, other: bytes) -> bytes:
    """A damaged frame."""
    kind = draw.randrange(10)
    if kind <= 1:
        return bytes_of(frame, draw, other)
    if len(frame) < 8:
        return frame
    header_end = 8 + int.from_bytes(frame[5:8], "big")
    header, body, codec = frame[8:header_end], frame[header_end:], frame[4]
    if kind == 2:
        return framed(bytes_of(header, draw, other), body, codec)
    if kind == 3 and codec == JSON:
        return framed(json_of(header, draw), body, codec)
    if kind <= 5 and body:
        return framed(header, json_of(body, draw), codec)
    if kind == 6:
        return framed(header, bytes_of(body, draw, other), codec)
    return _fields_changed(frame, draw)


def _fields_changed(frame: bytes, draw: Random) -> bytes:
    """A header that is well made and says something strange."""
    try:
        command = decode_frame(frame[4:])
    except FrameError:
        return frame
    fields = dict(command.ext_fields or {})
    for _ in range(draw.choice((1, 1, 2))):
        name = draw.choice(list(fields) or ["topic"])
        if draw.random() < 0.1:
            fields.pop(name, None)
        else:
            fields[name] = draw.choice(TEXTS)
    command.ext_fields = fields
    if draw.random() < 0.05:
        command.body = draw.choice((b"", BOMB, zlib.compress(command.body), bytes(70_000)))
    if draw.random() < 0.05:
        command.flag = draw.choice((0, 1, 2, 3, -1, 4))
    if draw.random() < 0.05:
        command.code = draw.choice((0, -1, 9_999, 32_767, 105, 103, 10, 11, 34))
    command.serialize_type = draw.choice((JSON, BINARY))
    try:
        return encode_frame(command)
    except ValueError:  # what a binary header cannot hold
        command.serialize_type = JSON
        return encode_frame(command)


def request_frame(command: RemotingCommand, opaque: int, serialize_type: int) -> bytes:
    """A request as it should be."""
    command.opaque, command.serialize_type = opaque, serialize_type
    return encode_frame(command)
