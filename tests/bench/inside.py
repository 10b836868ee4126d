"""A broker in the process that drives it: no client, no socket between the caller and the store.

    python -m tests.bench.inside '{"kind": "append", "store": "/tmp/s", "amount": 100000}'     (see Job)

What always holds: messages are made before the clock runs, 64 go to one write, as a network read would bring
them, and timers run between the writes as they do in a broker. Each put must end with PUT_OK, and afterwards
the store must have given out as many queue offsets as there were messages, and its queues must hold them.

The process ends without stopping its broker, unless the job says so: what is on disk is an unclean end.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mq.commitlog.hosts import encode_host
from mq.commitlog.ids import UniqKeys
from mq.commitlog.message import encode_properties
from mq.commitlog.put import AppendResult, InnerMessage, PutStatus
from mq.commitlog.store import MessageStore
from mq.consumequeue.index import IndexService
from mq.consumequeue.store import QueueStore
from mq.routing.broker import Broker
from mq.runtime.errors import MQError
from mq.runtime.real import RealNode
from mq.system import LATEST, build_broker
from tests.bench.load import Fault

TO_A_WRITE = 64
TOPIC = "bench"
HOST = encode_host("127.0.0.1:10911")
END_OF_TIME_MS = (1 << 63) - 1
MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Job:
    """`kind`: "append" puts `amount` messages, "open" starts a broker on a store that holds as many."""

    store: str
    amount: int
    kind: str = "append"
    chapter: int = LATEST
    queues: int = 8
    body_bytes: int = 100
    settings: Mapping[str, str] = field(default_factory=dict)
    begin_queues: bool = False
    """Put one message into each queue before the clock runs."""
    stop: bool = False
    """Stop the broker as it should be stopped, and tell how long that took."""


def messages(job: Job, node: RealNode, count: int) -> list[InnerMessage]:
    """As they arrive from a client: KEYS, UNIQ_KEY, TAGS, and the broker's CLUSTER."""
    keys, body, made = UniqKeys(node), b"x" * job.body_bytes, []
    now_ms = node.wall_ms()
    for i in range(count):
        properties = {
            "KEYS": key_of(i), "UNIQ_KEY": keys.next(), "TAGS": "TagA", "CLUSTER": "DefaultCluster",
        }  # fmt: skip
        text = encode_properties(properties).removesuffix("\x02")
        made.append(InnerMessage(TOPIC, i % job.queues, body, properties, text, now_ms, HOST, HOST))
    return made


def key_of(number: int) -> str:
    """The key of a message."""
    return f"N{number:07d}"


async def put_all(store: MessageStore, to_put: Sequence[InnerMessage]) -> float:
    """Seconds, from the first put until all have been acknowledged. Raises Fault."""
    stored = 0

    def done(result: AppendResult) -> None:
        nonlocal stored
        stored += result.status is PutStatus.PUT_OK

    gc.collect()
    gc.freeze()  # the load is not the broker's garbage
    began_s = time.perf_counter()
    for start in range(0, len(to_put), TO_A_WRITE):
        for message in to_put[start : start + TO_A_WRITE]:
            store.put(message, done)
        store.write_out()
        await asyncio.sleep(0)
    seconds = time.perf_counter() - began_s
    if stored != len(to_put):
        raise Fault(f"{stored:,} of {len(to_put):,} puts ended with PUT_OK")
    return seconds


async def append(broker: Broker, node: RealNode, job: Job) -> dict[str, Any]:
    """Put, then count."""
    await broker.start()
    store, begun = broker.part(MessageStore), job.queues if job.begin_queues else 0
    if begun:
        await put_all(store, messages(job, node, begun))
    to_put = messages(job, node, job.amount)
    seconds = await put_all(store, to_put)
    told: dict[str, Any] = {"seconds": seconds, "messages": job.amount, "queues": job.queues}
    told["checked"] = checked(broker, job, begun + job.amount)
    told["log_bytes"] = store.max_physical_offset
    if job.stop:
        began_s = time.perf_counter()
        await broker.stop()
        told["stop_seconds"] = time.perf_counter() - began_s
    return told


def checked(broker: Broker, job: Job, wanted: int) -> str:
    """The store has `wanted` messages, in words. Raises Fault."""
    store = broker.part(MessageStore)
    given = sum(store.next_queue_offset(TOPIC, queue_id) for queue_id in range(job.queues))
    if given != wanted:
        raise Fault(f"{wanted:,} messages were put, and {given:,} queue offsets were given out")
    if job.chapter < 3:
        return f"{wanted:,} put = {given:,} numbered"
    entered = sum(end for (topic, _), end in broker.part(QueueStore).queue_ends().items() if topic == TOPIC)
    if entered != wanted:
        raise Fault(f"{wanted:,} messages were put, and the queues hold {entered:,}")
    return f"{wanted:,} put = {entered:,} in the queues"


async def open_store(broker: Broker, node: RealNode, job: Job) -> dict[str, Any]:
    """Start on what is there; the messages must be in the queues, and the last one's key in the index."""
    gc.collect()
    bytes_before = _peak_bytes()
    began_s = time.perf_counter()
    await broker.start()
    seconds = time.perf_counter() - began_s
    gc.collect()
    told: dict[str, Any] = {"seconds": seconds, "messages": job.amount, "queues": job.queues}
    told["memory_bytes"] = _peak_bytes() - bytes_before
    told["log_bytes"] = broker.part(MessageStore).max_physical_offset
    told["checked"] = checked(broker, job, job.amount)
    if job.settings.get("messageIndexEnable") != "false":
        last = key_of(job.amount - 1)
        if not broker.part(IndexService).query(TOPIC, last, 1, 0, END_OF_TIME_MS).physical_offsets:
            raise Fault(f"the index does not have {last}, the key of the last message")
        told["checked"] += ", and the last key in the index"
    if job.stop:
        await broker.stop()
    return told


def _peak_bytes() -> int:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_BYTES


async def run(job: Job) -> dict[str, Any]:
    """Do the job with a broker of its own. Raises Fault, MQError."""
    node = RealNode("broker-a", job.store)
    broker = build_broker(node, {"listenPort": "0", **job.settings}, job.chapter)
    return await {"append": append, "open": open_store}[job.kind](broker, node, job)


def main(arguments: Sequence[str]) -> None:
    """One job, as JSON; its outcome as JSON in the last line, or a sentence on stderr."""

    async def until_told() -> None:
        status = 0
        try:
            print(json.dumps(await run(Job(**json.loads(arguments[0])))), flush=True)
        except (Fault, MQError, OSError) as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            status = 1
        os._exit(status)  # not one write more

    asyncio.run(until_told())


if __name__ == "__main__":
    main(sys.argv[1:])
