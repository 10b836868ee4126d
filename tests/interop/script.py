"""One script of requests, played to a broker and its NameServer; its answers in a form to be compared.

An answer becomes plain values: code, remark, fields, body. Times, ports of clients, versions and the order of
Java's hash maps are taken out, since two runs of the same broker differ in them too. `Places` takes out where
a broker listens: its address becomes the usual one, in words, in ids and in records.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any

from mq.commitlog.hosts import encode_host
from mq.commitlog.record import MessageExt, decode_records
from mq.routing.bodies import read_object
from mq.runtime.errors import MQError
from mq.runtime.real import RealNode
from mq.wire.client import RpcClient
from mq.wire.codes import RequestCode as Code
from mq.wire.command import RemotingCommand
from tests.interop.steps import AT_BROKER, AT_NAMESRV, STEPS, Step

Answer = dict[str, Any]
BROKER = "127.0.0.1:10911"
TIMEOUT_MS = 8_000


async def _play(addresses: dict[str, str]) -> list[tuple[Step, RemotingCommand | None]]:
    node = RealNode("script", ".")
    rpc = RpcClient(node)
    answers: list[tuple[Step, RemotingCommand | None]] = []
    for step in STEPS:
        if step.pause_s:
            await asyncio.sleep(step.pause_s)
        answer: RemotingCommand | None = None
        try:
            answer = await rpc.invoke(addresses[step.at], step.command(), TIMEOUT_MS)
        except MQError:
            pass  # no answer is an answer, too
        answers.append((step, answer))
    rpc.stop()
    node.real_disk.close()
    return answers


def play(broker: str, namesrv: str) -> dict[str, Answer]:
    """Every step's answer as plain values, by the step's name."""
    answers = asyncio.run(_play({AT_BROKER: broker, AT_NAMESRV: namesrv}))
    return {step.name: plain(step, answer) for step, answer in answers}


_PORT = re.compile(r"127\.0\.0\.1:(?!10911|10912|9876)\d+")
_TIME = re.compile(r"\b1[789]\d{11}\b")
OF_THE_MOMENT = ("dataVersion", "consumeTps", "topicPutTps")
_NOW_MS = 1_700_000_000_000


@dataclass(frozen=True)
class Places:
    """The addresses by which a broker is reached and by which it calls itself: each becomes `BROKER`."""

    brokers: tuple[str, ...] = ()

    def text(self, text: str) -> str:
        """A text as if the broker listened at the usual place."""
        for address in self.brokers:
            text = text.replace(address, BROKER)
            text = text.replace(_in_an_id(address), _in_an_id(BROKER))
        return text

    def body(self, body: bytes) -> bytes:
        """The same for JSON."""
        for address in self.brokers:
            body = body.replace(address.encode(), BROKER.encode())
        return body


def _in_an_id(address: str) -> str:
    return encode_host(address).hex().upper()


USUAL = Places()


def plain(step: Step, answer: RemotingCommand | None, places: Places = USUAL) -> Answer:
    """An answer without what differs between any two runs."""
    if answer is None:
        return {"answer": "none"}
    fields = {name: _text(value, places) for name, value in sorted((answer.ext_fields or {}).items())}
    told: Answer = {"code": answer.code, "remark": _text(answer.remark, places), "fields": fields}
    told["extFields"] = "absent" if answer.ext_fields is None else "there"
    told["body"] = _body(step, answer, places)
    return told


def _text(value: str | None, places: Places = USUAL) -> str | None:
    return None if value is None else _TIME.sub("<ms>", _PORT.sub("<client>", places.text(value)))


def _body(step: Step, answer: RemotingCommand, places: Places) -> Any:
    if not answer.body:
        return None
    if step.code in (Code.PULL_MESSAGE, Code.QUERY_MESSAGE, Code.VIEW_MESSAGE_BY_ID):
        return [_record(each, places) for each in decode_records(answer.body)]
    body = places.body(answer.body)
    try:
        return _sorted(read_object(body, "body"))
    except MQError:
        return _text(body.decode("utf-8", "replace"))


def _record(message: MessageExt, places: Places) -> dict[str, Any]:
    """Every field of a record. The order of its properties is Java's, or that of whoever sent them."""
    names = (
        "size", "body_crc", "queue_id", "flag", "queue_offset", "physical_offset", "sys_flag",
        "born_timestamp_ms", "store_host", "reconsume_times", "prepared_transaction_offset", "topic",
    )  # fmt: skip
    told = {name: getattr(message, name) for name in names}
    told["store_host"] = places.text(message.store_host)
    told["body"] = message.body[:64].hex()
    told["properties"] = [list(pair) for pair in sorted(message.properties.items())]
    told["properties end with a separator"] = message.properties_text.endswith("\x02")
    return told


def _sorted(value: Any) -> Any:
    """Maps by name; lists of names by name; times taken out."""
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value) if name not in OF_THE_MOMENT}
    if isinstance(value, list):
        return sorted((_sorted(each) for each in value), key=str)
    if isinstance(value, int) and _NOW_MS <= value < 2 * _NOW_MS:
        return "<ms>"
    return _text(value) if isinstance(value, str) else value
