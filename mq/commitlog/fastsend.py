"""Sends of a known shape: what a producer's sends have in common is worked out once · depth

What always holds: the message made here is the one that `SendMessageProcessor` makes the plain way from the
same request, its plain twin, and a property test holds them equal. Here a send is only ever taken, never
refused: whatever would not pass every check goes the plain way, and is refused there in RocketMQ's order and
words.

A send whose header has a known shape (`mq/wire/knownheaders.py`) differs from the one before it in its topic,
its queue, its time and the values of its properties. All else is worked out from the shape once, and kept
there: numbers, flags, hosts, and how the stored property text is put together: without WAIT, and with
CLUSTER.

Real: org.apache.rocketmq.common.protocol.header.SendMessageRequestHeaderV2 (equivalent: its decode by hand)
"""

from __future__ import annotations

from typing import NamedTuple

from mq.commitlog.headers import SendMessageRequestHeader, check_numbers, from_v2
from mq.commitlog.hosts import encode_host
from mq.commitlog.message import (
    NAME_END,
    PROPERTY_CLUSTER,
    PROPERTY_KEYS,
    PROPERTY_TAGS,
    PROPERTY_UNIQ_KEY,
    PROPERTY_WAIT,
    VALUE_END,
)
from mq.commitlog.put import InnerMessage
from mq.commitlog.record import TRANSACTION_MASK, TRANSACTION_PREPARED
from mq.routing.broker import Broker
from mq.routing.route import PERM_WRITE
from mq.routing.topics import NOT_ALLOWED_TOPICS
from mq.runtime.errors import MQError
from mq.wire.codes import RequestCode
from mq.wire.headers import decode_header
from mq.wire.knownheaders import KnownCommand, Shape
from mq.wire.rpc import Request

TOPIC, QUEUE_ID, BORN, PROPERTIES = range(4)
_NAMES = {
    RequestCode.SEND_MESSAGE: ("topic", "queueId", "bornTimestamp", "properties"),
    RequestCode.SEND_MESSAGE_V2: ("b", "e", "g", "i"),
}


class Plan(NamedTuple):
    """How the sends of one shape become messages. `*_at`: which captured value; -1: there is none."""

    topic_at: int
    queue_id_at: int
    born_at: int
    tag_at: int
    keys_at: int
    uniq_key_at: int
    wait_at: int
    properties: slice
    stored: str  # a format for the values in `properties`
    flag: int
    sys_flag: int
    reconsume_times: int
    born_host: bytes


def known_message(
    request: Request, command: KnownCommand, broker: Broker, store_host: bytes
) -> InnerMessage | None:
    """The message in a send of a known shape that passes every check; None: go the plain way."""
    plan = command.shape.memo
    if not isinstance(plan, Plan):
        if plan is None:
            command.shape.memo = _plan(command.shape, request.connection.peer, broker) or "none"
        return None
    (  # at once: to ask a named tuple for each of its fields costs a fifth of this function
        topic_at, queue_id_at, born_at, tag_at, keys_at, uniq_key_at, wait_at, properties, stored,
        flag, sys_flag, reconsume_times, born_host,
    ) = plan  # fmt: skip
    values = command.values
    topic_name, queue_id = values[topic_at], int(values[queue_id_at])
    topic = broker.topics.table.get(topic_name)
    if (
        topic is None
        or queue_id >= topic.write_queue_nums
        or topic_name in NOT_ALLOWED_TOPICS
        or (topic.order and not broker.config.broker_permission & PERM_WRITE)
    ):
        return None
    words = (
        values[tag_at] if tag_at >= 0 else None,
        values[keys_at] if keys_at >= 0 else "",
        values[uniq_key_at] if uniq_key_at >= 0 else None,
    )
    return InnerMessage(
        topic_name, queue_id, command.body, None, stored % values[properties], int(values[born_at]),
        born_host, store_host, flag, sys_flag, reconsume_times,
        wait_at < 0 or values[wait_at] != "false", None, words,
    )  # fmt: skip


def _plan(shape: Shape, peer: str, broker: Broker) -> Plan | None:
    """None for a batch, a half message, and whatever else is not sent all day."""
    names = _NAMES.get(shape.command.code)  # type: ignore[call-overload]
    if names is None:
        return None
    places, layout = shape.places, shape.layouts.get(names[PROPERTIES])
    if layout is None or not {names[TOPIC], names[QUEUE_ID], names[BORN]} <= places.keys():
        return None
    try:
        header = constant_header(shape)
        born_host = encode_host(peer)
    except MQError:
        return None
    is_prepared = header.sys_flag & TRANSACTION_MASK == TRANSACTION_PREPARED
    if header.batch or is_prepared or len(set(layout.names)) < len(layout.names):
        return None
    if PROPERTY_CLUSTER in layout.names:
        return None  # it would take the place of ours
    at = {name: layout.start + number for number, name in enumerate(layout.names)}
    return Plan(
        places[names[TOPIC]],
        places[names[QUEUE_ID]],
        places[names[BORN]],
        at.get(PROPERTY_TAGS, -1),
        at.get(PROPERTY_KEYS, -1),
        at.get(PROPERTY_UNIQ_KEY, -1),
        at.get(PROPERTY_WAIT, -1),
        slice(layout.start, layout.stop),
        stored_format(layout.names, broker.config.broker_cluster_name),
        header.flag,
        header.sys_flag,
        header.reconsume_times or 0,
        born_host,
    )


def constant_header(shape: Shape) -> SendMessageRequestHeader:
    """The header that the shape was learned from; its fields outside `places` are those of all."""
    fields = shape.command.ext_fields or {}
    if shape.command.code == RequestCode.SEND_MESSAGE_V2:
        return from_v2(fields)
    header = decode_header(SendMessageRequestHeader, fields)
    check_numbers(header)
    return header


def stored_format(names: tuple[str, ...], cluster: str) -> str:
    """`KEYS\\x01%s\\x02…CLUSTER\\x01DefaultCluster`; `%.0s` shows nothing of WAIT's value."""
    pieces = [
        "%.0s" if name == PROPERTY_WAIT else f"{name.replace('%', '%%')}{NAME_END}%s{VALUE_END}"
        for name in names
    ]
    return "".join(pieces) + f"{PROPERTY_CLUSTER}{NAME_END}{cluster.replace('%', '%%')}"
