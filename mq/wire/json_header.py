"""The JSON header: codec 0, which every client speaks · core

What always holds: what we write has its keys in alphabetical order, values of `extFields` are text, and an
absent `extFields` or `remark` is left out. What we read may come from any client, so numbers and booleans
in `extFields` become text as Java would print them.

What the real system does: fastjson writes the same keys in the same order (seen in frames of 4.9.8).

Real: org.apache.rocketmq.remoting.protocol.RemotingSerializable (equivalent)
"""

import json
from json.encoder import encode_basestring as _quote
from typing import Any, NoReturn

from mq.wire.command import RemotingCommand
from mq.wire.errors import FrameError

# A template costs half of what an encoder does, and shows the order. `%s`: extFields, language, remark.
_HEADER = '{"code":%d,%s"flag":%d,"language":%s,"opaque":%d,%s"serializeTypeCurrentRPC":"JSON","version":%d}'


class JsonHeader:
    """`{"code":…,"extFields":{…},"flag":…,"language":…,"opaque":…,"remark":…,…,"version":…}`"""

    def encode(self, command: RemotingCommand) -> bytes:
        """Keys in fastjson's order, and each text as it is. Raises TypeError when a value is no text."""
        ext_fields, remark = "", ""
        if command.ext_fields is not None:
            pairs = [f"{_quote(name)}:{_quote(value)}" for name, value in command.ext_fields.items()]
            ext_fields = f'"extFields":{{{",".join(pairs)}}},'
        if command.remark is not None:
            remark = f'"remark":{_quote(command.remark)},'
        language = _quote(command.language)
        values = command.code, ext_fields, command.flag, language, command.opaque, remark, command.version
        return (_HEADER % values).encode("utf-8", "replace")

    def decode(self, header: bytes) -> RemotingCommand:
        """Raises FrameError when it is not one JSON object with the fields of a header."""
        try:
            fields = _parse(header.decode())
            ext_fields = fields.get("extFields")
            if ext_fields is not None:
                ext_fields = _texts(ext_fields)
            return RemotingCommand(
                _integer(fields, "code"),
                ext_fields,
                b"",
                _integer(fields, "opaque"),
                _integer(fields, "flag"),
                _text(fields, "remark"),
                _text(fields, "language") or "OTHER",
                _integer(fields, "version"),
            )
        except (ValueError, RecursionError) as error:
            raise FrameError(f"header is not JSON: {error}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


# One decoder for all frames: json.loads() with a hook builds one each time, and looks for white space twice.
_scan = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode

INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1


def _parse(text: str) -> dict[str, Any]:
    fields, end = _scan(text)
    if end != len(text) and not text[end:].isspace():  # C++ clients end their header with a newline
        raise ValueError(f"{len(text) - end} characters follow its end")
    if type(fields) is not dict:
        raise FrameError(f"header is {type(fields).__name__}, not an object")
    return fields


def _integer(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name, 0)
    if type(value) is not int or not INT32_MIN <= value <= INT32_MAX:
        raise FrameError(f"header field {name} is {str(value)[:40]!r}, not a 32-bit integer")
    return value


def _text(fields: dict[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if not isinstance(value, str):
        return None
    if not value.isascii():
        value.encode()  # raises ValueError for half of a surrogate pair
    return value


def _texts(ext_fields: Any) -> dict[str, str]:
    """Every value as text that can be written again. The usual case, all of it ASCII text, is one `join`."""
    if type(ext_fields) is not dict:
        raise FrameError(f"extFields is {type(ext_fields).__name__}, not an object")
    texts: dict[str, str] = ext_fields
    try:
        joined = "".join(texts.values())
    except TypeError:
        texts = {name: as_text(value) for name, value in ext_fields.items() if value is not None}
        joined = "".join(texts.values())
    if not joined.isascii():
        joined.encode()  # as above: what cannot be written must not get into topics, groups or files
    return texts


def as_text(value: Any) -> str:
    """A JSON value as Java prints it: `true`, `5`, and nested values as JSON again."""
    return value if isinstance(value, str) else _encode(value)
