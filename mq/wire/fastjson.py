"""fastjson's dialect: JSON whose maps may have keys that are no text · depth

A Java map from numbers comes as `{0:"a:1",1:"b:2"}`, and one from queues as
`{{"brokerName":"b","queueId":0,"topic":"t"}:5}`. Brokers before 4.9.4 and admin tools of any age send both.

What always holds: whatever is JSON is read as JSON reads it. A key that is an integer or an object becomes
text: the number as it stood, the object as compact JSON, so that `loads(key)` gives it back. Every byte is
looked at once, what is nested deeper than `MAX_DEPTH` is refused, and so is a key inside of a key, whose
quotes would be escaped again and again: neither length nor depth of a hostile text costs more than its
reading. All errors are ValueErrors that say what was expected, and where.

What the real system does: its reader also takes names without quotes, single quotes and comments. Nothing
that 4.9.8 writes has them.

Real: com.alibaba.fastjson.parser.DefaultJSONParser (simplified)
"""

import json
import re
from typing import Any, NoReturn

MAX_DEPTH = 100  # a route is 4 deep, a table of offsets 3

_BLANK = re.compile(r"[ \t\n\r]*")
_INTEGER = re.compile(r"-?(?:0|[1-9]\d{0,18})", re.ASCII)
_dumps = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


# Everything but objects and lists: a number, a text, true, false or null, and where it ends.
_scan = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode


def loads(text: str) -> Any:
    """The value in `text`; objects have keys of text only. Raises ValueError."""
    value, at = _value(text, _skip(text, 0), 0, False)
    if at != len(text):
        raise ValueError(f"{_here(text, at)} where the text should end")
    return value


def _value(text: str, at: int, depth: int, in_key: bool) -> tuple[Any, int]:
    """The value that begins at `at`, and where what follows it begins. `in_key`: it is part of a key."""
    first = text[at : at + 1]
    if first in ("{", "["):
        if depth >= MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} at {at}")
        return (_object if first == "{" else _list)(text, at, depth + 1, in_key)
    try:
        value, end = _scan(text, at)
    except (StopIteration, json.JSONDecodeError):
        raise ValueError(f"{_here(text, at)} where a value should be") from None
    return value, _skip(text, end)


def _object(text: str, at: int, depth: int, in_key: bool) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    at = _skip(text, at + 1)
    if text[at : at + 1] == "}":
        return found, _skip(text, at + 1)
    while True:
        key, at = _key(text, at, depth, in_key)
        if text[at : at + 1] != ":":
            raise ValueError(f"{_here(text, at)} where ':' should follow a key")
        found[key], at = _value(text, _skip(text, at + 1), depth, in_key)
        sign, at = text[at : at + 1], _skip(text, at + 1)
        if sign == "}":
            return found, at
        if sign != ",":
            raise ValueError(f"{_here(text, at - 1)} where ',' or '}}' should follow a member")


def _key(text: str, at: int, depth: int, in_key: bool) -> tuple[str, int]:
    first = text[at : at + 1]
    if first == '"':
        key, at = _value(text, at, depth, in_key)
        return str(key), at
    if first == "{" and not in_key:
        inner, at = _value(text, at, depth, True)
        return _dumps(inner), at
    number = _INTEGER.match(text, at)
    if number is None:
        raise ValueError(f"{_here(text, at)} where a key should be")
    return number.group(), _skip(text, number.end())


def _list(text: str, at: int, depth: int, in_key: bool) -> tuple[list[Any], int]:
    found: list[Any] = []
    at = _skip(text, at + 1)
    if text[at : at + 1] == "]":
        return found, _skip(text, at + 1)
    while True:
        value, at = _value(text, at, depth, in_key)
        found.append(value)
        sign, at = text[at : at + 1], _skip(text, at + 1)
        if sign == "]":
            return found, at
        if sign != ",":
            raise ValueError(f"{_here(text, at - 1)} where ',' or ']' should follow an element")


def _skip(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    assert blank is not None
    return blank.end()


def _here(text: str, at: int) -> str:
    return f"{text[at : at + 12]!r} at {at}" if at < len(text) else "the end"
