"""KnownHeaders: what one peer's headers have in common is parsed once · depth

A producer sends the same header a million times: the same names in the same order, the same group, and other
values in five or six places. Here the words around those places become one regular expression, the header's
*shape*. A header that fits its shape is not parsed: its values are what the expression captured.

What always holds: a header that fits gives the command that `JsonHeader.decode` gives, which is the plain
twin (a property test holds them equal). A shape is learned from a header that the plain decoder has read, and
is believed only if it agrees with the plain decoder on that header and on one with other values. Then it
agrees on all: a value is a canonical number, or text without a quote, a backslash or a control character, and
JSON reads any such value in the same way. Whatever does not fit goes to the plain decoder.

What it costs: an expression takes 0.3 ms to make, so a kind of header is learned when it has come 16 times,
then at 32, 64 and so on while headers come that fit none; memory holds a few shapes for each connection.

Real: nothing (RocketMQ writes a decoder for each of its hot headers by hand: FastCodesHeader)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from mq.wire.command import RemotingCommand
from mq.wire.errors import FrameError
from mq.wire.json_header import JsonHeader

KEY_BYTES = 16  # `{"code":310,"ext`: enough to tell kinds of headers apart
LEAST_SEEN, MOST_SEEN = 16, 4096  # learn at 16, 32, … 2048, and then at each 4096
MAX_KEYS, MAX_SHAPES = 64, 4
MAX_HEADER_BYTES = 16 << 10  # longer ones are rare, and an expression for one is long as well

NUMBERS = ("opaque", "e", "g", "queueId", "queueOffset", "commitOffset", "bornTimestamp", "nextBeginOffset",
           "maxOffset", "minOffset", "offset")  # fmt: skip
TEXTS = ("b", "topic", "msgId")
PROPERTIES = ("i", "properties")  # `name \x01 value \x02` again and again: the names stay, the values vary

_NUMBER = r"(0|[1-9][0-9]{0,8})"  # canonical, so that text and number are one; of 9 digits: inside 32 bits
_LONG_NUMBER = r"(0|[1-9][0-9]{0,17})"
_TEXT = r'([^"\\\x00-\x1f]*)'
_VALUE = r'([^"\\\x00-\x1f]+)'  # of a property: one without a value is dropped when properties are read
_NAME_END, _VALUE_END = r"\u0001", r"\u0002"  # as JSON writes them
_FIND = re.compile(
    rf'"({"|".join((*NUMBERS, *TEXTS, *PROPERTIES))})":'
    r'(?:(?P<bare>0|[1-9][0-9]*)(?=[,}])|"(?P<text>(?:[^"\\\x00-\x1f]|\\u000[12])*)")'
)


class Layout(NamedTuple):
    """Where the values of a property text are: its names, a `%` format, and the span of captured values."""

    names: tuple[str, ...]
    format: str
    start: int
    stop: int


class Shape:
    """The constant words of a header, and where between them its values stand.

    `places` and `layouts` say which captured value belongs to which of `extFields`. `memo` is for the
    processor of such requests: what it has worked out from the constant fields.
    """

    __slots__ = ("command", "layouts", "match", "memo", "opaque_at", "places")

    def __init__(self, pattern: str, places: dict[str, int], layouts: dict[str, Layout]) -> None:
        self.match = re.compile(pattern).fullmatch
        self.places = places
        self.layouts = layouts
        self.opaque_at = places.pop("opaque")
        self.command = RemotingCommand(0)  # one that fits, as the plain decoder read it
        self.memo: object = None


class KnownCommand(RemotingCommand):
    """A command whose header fits a shape. `values` are what the shape captured."""

    __slots__ = ("_ext_fields", "shape", "values")

    def __init__(self, shape: Shape, values: Sequence[str], body: bytes) -> None:
        like = shape.command
        self.shape = shape
        self.values = values
        self.code = like.code
        self.body = body
        self.opaque = int(values[shape.opaque_at])
        self.flag = like.flag
        self.remark = like.remark
        self.language = like.language
        self.version = like.version
        self.serialize_type = like.serialize_type
        self._ext_fields: dict[str, str] | None = None

    @property
    def ext_fields(self) -> dict[str, str] | None:
        """As they came; put together when somebody asks."""
        if self._ext_fields is None and self.shape.command.ext_fields is not None:
            fields = self._ext_fields = self.shape.command.ext_fields.copy()
            for name, place in self.shape.places.items():
                fields[name] = self.values[place]
            for name, layout in self.shape.layouts.items():
                fields[name] = layout.format % tuple(self.values[layout.start : layout.stop])
        return self._ext_fields

    @ext_fields.setter
    def ext_fields(self, fields: dict[str, str] | None) -> None:
        self._ext_fields = fields


class KnownHeaders:
    """Of one connection. `decode` first; when it gives None, the plain decoder, and then `learn`."""

    __slots__ = ("_seen", "_shapes")

    def __init__(self) -> None:
        self._shapes: dict[bytes, list[Shape]] = {}
        self._seen: dict[bytes, int] = {}

    def decode(self, payload: bytes) -> KnownCommand | None:
        """The command in a frame's payload, when its header has a known shape."""
        shapes = self._shapes.get(payload[4 : 4 + KEY_BYTES])
        if shapes is None:
            return None
        end = 4 + int.from_bytes(payload[:4], "big")  # the codec's byte is 0 for JSON, else this is too long
        if not end <= len(payload) or end > MAX_HEADER_BYTES:
            return None
        try:
            header = payload[4:end].decode()
        except UnicodeDecodeError:
            return None
        for shape in shapes:
            fits = shape.match(header)
            if fits is not None:
                return KnownCommand(shape, fits.groups(), payload[end:])
        return None

    def learn(self, payload: bytes) -> None:
        """A frame came that `decode` did not know, and the plain decoder took it."""
        key = payload[4 : 4 + KEY_BYTES]
        seen = self._seen.get(key, 0) + 1
        if seen > 1 or len(self._seen) < MAX_KEYS:
            self._seen[key] = seen
        if seen < LEAST_SEEN or (seen & (seen - 1) if seen < MOST_SEEN else seen % MOST_SEEN):
            return
        end = 4 + int.from_bytes(payload[:4], "big")
        shape = shape_of(payload[4:end]) if end <= min(len(payload), MAX_HEADER_BYTES) else None
        if shape is not None:
            self._shapes[key] = [shape, *self._shapes.get(key, ())][:MAX_SHAPES]


def shape_of(header: bytes) -> Shape | None:
    """The shape of a JSON header that the plain decoder takes; None when none can be relied on."""
    text = header.decode()
    pattern, other = "", ""  # the expression, and a header of this shape with other values
    places: dict[str, int] = {}
    layouts: dict[str, Layout] = {}
    groups = end = 0
    for found in _FIND.finditer(text):
        name, kind = found[1], "bare" if found["bare"] else "text"
        pieces = _pieces(name, found[kind], groups)
        if pieces is None:
            continue
        if name in places or name in layouts:
            return None
        start, stop = found.span(kind)
        pattern += re.escape(text[end:start]) + pieces.pattern
        other += text[end:start] + pieces.other
        end = stop
        if pieces.layout is not None:
            layouts[name] = pieces.layout
        else:
            places[name] = groups
        groups += pieces.groups
    if "opaque" not in places:
        return None
    shape = Shape(pattern + re.escape(text[end:]), places, layouts)
    return shape if _is_reliable(shape, text, other + text[end:]) else None


class _Pieces(NamedTuple):
    """One value: an expression that captures it, another value in its place, and how many groups it takes."""

    pattern: str
    other: str
    groups: int
    layout: Layout | None = None


def _pieces(name: str, value: str, first: int) -> _Pieces | None:
    """None when the value is not of the kind that its name promises: then it stays a part of the words."""
    if name in PROPERTIES:
        return _property_pieces(value, first)
    if name in TEXTS:
        return _Pieces(_TEXT, f"~{first}", 1) if "\\" not in value else None
    number = _NUMBER if name == "opaque" else _LONG_NUMBER
    return _Pieces(number, str(1_000_000 + first), 1) if re.fullmatch(number, value) else None


def _property_pieces(value: str, first: int) -> _Pieces | None:
    pairs = [pair.split(_NAME_END) for pair in value.removesuffix(_VALUE_END).split(_VALUE_END)]
    if not all(len(pair) == 2 and pair[0] and pair[1] for pair in pairs):
        return None
    names = [name for name, _ in pairs]
    tail = _VALUE_END if value.endswith(_VALUE_END) else ""
    patterns = [re.escape(name + _NAME_END) + _VALUE for name in names]
    others = [f"{name}{_NAME_END}~{first + count}" for count, name in enumerate(names)]
    format_ = "\x02".join([f"{name.replace('%', '%%')}\x01%s" for name in names]) + ("\x02" if tail else "")
    return _Pieces(
        re.escape(_VALUE_END).join(patterns) + re.escape(tail),
        _VALUE_END.join(others) + tail,
        len(names),
        Layout(tuple(names), format_, first, first + len(names)),
    )


def _is_reliable(shape: Shape, *texts: str) -> bool:
    """Whether the shape and the plain decoder agree on these headers."""
    for text in texts:
        fits = shape.match(text)
        if fits is None:
            return False
        try:
            plain = shape.command = JsonHeader().decode(text.encode())
        except FrameError:
            return False
        if _fields(KnownCommand(shape, fits.groups(), b"")) != _fields(plain):
            return False
    return True


def _fields(command: RemotingCommand) -> tuple[object, ...]:
    """All that a header says, with the order of its own fields."""
    ext_fields = None if command.ext_fields is None else tuple(command.ext_fields.items())
    return (
        command.code, ext_fields, command.opaque, command.flag, command.remark, command.language,
        command.version,
    )  # fmt: skip
