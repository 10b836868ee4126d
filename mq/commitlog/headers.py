"""The headers of sending · depth

What always holds: SEND_MESSAGE (10) travels under long names; SEND_MESSAGE_V2 (310) and SEND_BATCH_MESSAGE
(320) carry the same fields under one letter each. `from_v2` is `decode_header` written out for those letters,
because a broker reads more of these than of all others together; a property test holds the two equal.

Real: org.apache.rocketmq.common.protocol.header.SendMessageRequestHeaderV2 (equivalent)
"""

from __future__ import annotations

from dataclasses import dataclass

from mq.wire.errors import HeaderError
from mq.wire.headers import wire_name

FAQ = "\nSee http://rocketmq.apache.org/docs/faq/ for further details."  # RocketMQ's own words


@dataclass(slots=True)
class SendMessageRequestHeader:
    """Of 10; field by field also of 310 and 320."""

    producer_group: str
    topic: str
    default_topic: str
    default_topic_queue_nums: int
    queue_id: int
    sys_flag: int
    born_timestamp: int
    flag: int
    properties: str | None = None
    reconsume_times: int | None = None
    unit_mode: bool | None = None
    max_reconsume_times: int | None = None
    batch: bool | None = None
    bname: str | None = None


@dataclass(slots=True)
class SendMessageRequestHeaderV2:
    """Of 310 and 320: RocketMQ saves the longer names on every message."""

    a: str
    b: str
    c: str
    d: int
    e: int
    f: int
    g: int
    h: int
    i: str | None = None
    j: int | None = None
    k: bool | None = None
    l: int | None = None  # noqa: E741 - the field's name on the wire
    m: bool | None = None
    n: str | None = None


_TRUE = ("true", "1")  # C++ clients send "1", which Java reads as false: a named difference
_INT32, _INT64 = 1 << 31, 1 << 63


def from_v2(fields: dict[str, str]) -> SendMessageRequestHeader:
    """The header of 310 or 320. Raises HeaderError."""
    get = fields.get
    reconsume_times, unit_mode, max_reconsume_times, batch = get("j"), get("k"), get("l"), get("m")
    try:
        header = SendMessageRequestHeader(
            fields["a"], fields["b"], fields["c"], int(fields["d"]), int(fields["e"]), int(fields["f"]),
            int(fields["g"]), int(fields["h"]), get("i"),
            None if reconsume_times is None else int(reconsume_times),
            None if unit_mode is None else unit_mode in _TRUE,
            None if max_reconsume_times is None else int(max_reconsume_times),
            None if batch is None else batch in _TRUE,
            get("n"),
        )  # fmt: skip
    except KeyError as error:
        raise HeaderError(f"SendMessageRequestHeaderV2 lacks {error.args[0]}") from None
    except ValueError as error:
        raise HeaderError(f"SendMessageRequestHeaderV2: {error}") from None
    check_numbers(header)
    return header


def check_numbers(header: SendMessageRequestHeader) -> None:
    """Refuse what the fields of a record cannot hold: Java's int has 32 bits. Raises HeaderError."""
    if not (
        -_INT32 <= header.queue_id < _INT32
        and -_INT32 <= header.flag < _INT32
        and -_INT32 <= header.sys_flag < _INT32
        and -_INT64 <= header.born_timestamp < _INT64
        and -_INT32 <= header.default_topic_queue_nums < _INT32
        and -_INT32 <= (header.reconsume_times or 0) < _INT32
        and -_INT32 <= (header.max_reconsume_times or 0) < _INT32
    ):
        raise HeaderError("a number in the header of a send is larger than its field")


@dataclass(slots=True)
class SendMessageResponseHeader:
    """Of the answer, in the order of RocketMQ's own frames, which is that of a Java hash map."""

    queue_id: int
    trace_on: str = wire_name("TRACE_ON", "true")
    msg_region: str = wire_name("MSG_REGION", "DefaultRegion")
    msg_id: str | None = None
    queue_offset: int = 0
    transaction_id: str | None = None


@dataclass(slots=True)
class ViewMessageRequestHeader:
    """Of 33: a physical offset."""

    offset: int
