"""Typed headers: a dataclass on our side, text to text on the wire · depth

What always holds: a field `queue_id` travels as `queueId`; a field that is None is left out; what a header
does not know is ignored. A missing field without a default, or one that is no number where a number
belongs, is a HeaderError: the peer gets code 1 and a sentence.

Decoding any header the generic way costs about 2 microseconds. SEND and PULL have decoders of their own,
as they have in RocketMQ, and a property test holds them equal to this one.

Real: org.apache.rocketmq.remoting.protocol.RemotingCommand.decodeCommandCustomHeader (equivalent)
"""

import dataclasses
import types
import typing
from typing import Any, TypeVar

from mq.runtime.settings import camel
from mq.wire.errors import HeaderError

H = TypeVar("H")

INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1


def wire_name(name: str, default: Any = dataclasses.MISSING) -> Any:
    """A header field that travels under a name which the camel-case rule would not give it."""
    return dataclasses.field(default=default, metadata={"wire": name})


_PLANS: dict[type, tuple[tuple[str, str, type, bool], ...]] = {}


def plan_of(kind: type) -> tuple[tuple[str, str, type, bool], ...]:
    """For each field: its name here, its name on the wire, its type, and whether it must be there."""
    if kind not in _PLANS:
        _PLANS[kind] = _make_plan(kind)
    return _PLANS[kind]


def _make_plan(kind: Any) -> tuple[tuple[str, str, type, bool], ...]:
    types_ = typing.get_type_hints(kind)
    return tuple(
        (
            field.name,
            field.metadata.get("wire", camel(field.name)),
            _plain(types_[field.name]),
            field.default is dataclasses.MISSING,
        )
        for field in dataclasses.fields(kind)
    )


def _plain(kind: Any) -> type:
    """`int | None` -> `int`."""
    if isinstance(kind, types.UnionType):
        kind = next(part for part in kind.__args__ if part is not types.NoneType)
    assert isinstance(kind, type)
    return kind


def decode_header(kind: type[H], ext_fields: dict[str, str] | None) -> H:
    """The typed header in `ext_fields`. Raises HeaderError, which names the field."""
    values = {}
    for name, outside, type_, required in plan_of(kind):
        text = ext_fields.get(outside) if ext_fields else None
        if text is not None:
            values[name] = parse(outside, type_, text)
        elif required:
            raise HeaderError(f"{kind.__name__} lacks {outside}")
    return kind(**values)


def parse(outside: str, kind: type, text: str) -> Any:
    """Text as `str`, `int` (64 bits) or `bool`; `1` and `0` are booleans too: C++ clients send them."""
    if kind is str:
        return text
    if kind is bool:
        return text in ("true", "1")
    try:
        number = int(text)
    except ValueError:
        raise HeaderError(f"{outside} is {text[:40]!r}, not a number") from None
    if not INT64_MIN <= number <= INT64_MAX:
        raise HeaderError(f"{outside} is {text[:40]}, which 64 bits cannot hold")
    return number


def encode_header(header: Any) -> dict[str, str]:
    """A typed header as the text that travels."""
    fields = {}
    for name, outside, _, _ in plan_of(type(header)):
        value = getattr(header, name)
        if value is not None:
            fields[outside] = ("false", "true")[value] if isinstance(value, bool) else str(value)
    return fields
