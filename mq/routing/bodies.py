"""JSON bodies: read what peers really send, refuse the rest with a sentence · depth

What always holds: what we write is compact, with quoted keys. What we read may lack members, may hold numbers
as text and text as numbers, and may have keys that are numbers or objects, as fastjson writes them.
A body of the wrong shape, or with a text that cannot be written again, is a BodyError, which names what was
expected; it is never a traceback.

Real: org.apache.rocketmq.remoting.protocol.RemotingSerializable (equivalent)
"""

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from mq.runtime.errors import MQError
from mq.wire import fastjson


class BodyError(MQError, ValueError):
    """A body, or a config file, that is not what it should be: answered with code 1."""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode


def write_json(value: Any) -> bytes:
    """A body: compact, UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def pretty_json(value: Any) -> str:
    """A config file: one member a line, tabs, no blanks, as RocketMQ lays it out."""
    return json.dumps(value, indent="\t", separators=(",", ":"))


def read_object(body: bytes | str, what: str) -> dict[str, Any]:
    """The JSON object in `body`. Raises BodyError, which begins with `what`."""
    try:
        text = body.decode() if isinstance(body, bytes) else body
        try:
            value = _decode(text)
        except ValueError:
            value = fastjson.loads(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # raises ValueError for half of a surrogate pair
    except (ValueError, RecursionError) as error:
        raise BodyError(f"{what} is not JSON: {error}") from None
    return as_object(value, what)


def as_object(value: Any, what: str) -> dict[str, Any]:
    """The value itself when it is an object; an absent one is empty. Raises BodyError."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BodyError(f"{what} is {_kind(value)}, not an object")
    return value


def as_list(value: Any, what: str) -> list[Any]:
    """The value itself when it is a list; an absent one is empty. Raises BodyError."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise BodyError(f"{what} is {_kind(value)}, not a list")
    return value


def text_of(fields: Mapping[str, Any], name: str, default: str = "") -> str:
    """A member as text; numbers and booleans as Java prints them."""
    value = fields.get(name)
    if value is None:
        return default
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise BodyError(f"{name} is {_kind(value)}, not text")


def number_of(fields: Mapping[str, Any], name: str, default: int = 0) -> int:
    """A member as an integer of 64 bits; text that holds one is one."""
    value = fields.get(name)
    if value is None:
        return default
    try:
        number = int(value) if isinstance(value, str | bool) else value
    except ValueError:
        number = None
    if not isinstance(number, int) or not -(1 << 63) <= number < 1 << 63:
        raise BodyError(f"{name} is {str(value)[:40]!r}, not a 64-bit integer")
    return number


def flag_of(fields: Mapping[str, Any], name: str, default: bool = False) -> bool:
    """A member as true or false; `"true"`, `"1"` and 1 are true."""
    value = fields.get(name)
    if value is None:
        return default
    return value in (True, "true", "True", "1")


def name_of(fields: Mapping[str, Any], name: str, names: tuple[str, ...], default: str) -> str:
    """A member that is an enum: one of `names`, or its ordinal. Raises BodyError."""
    text = text_of(fields, name, default)
    if text in (ordinals := [str(ordinal) for ordinal in range(len(names))]):
        return names[ordinals.index(text)]
    if text not in names:
        raise BodyError(f"{name} is {text[:40]!r}; it must be one of {', '.join(names)}")
    return text


def _kind(value: Any) -> str:
    return {"dict": "an object", "list": "a list", "str": "text"}.get(type(value).__name__, str(value)[:40])
