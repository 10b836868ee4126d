"""What the house can do on one machine: the figures that pages quote, remade by `make measure`.

    python -m tests.measure chapters.measured

January goes through the store of one broker in this process, without sockets: appended one by one, with 64
to a write, as a network read would bring them. Each figure is the best of three runs on a fresh store.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from zlib import crc32

from chapters.story import Event, january
from mq.commitlog.hosts import encode_host
from mq.commitlog.put import InnerMessage
from mq.commitlog.store import MessageStore
from mq.consumequeue.store import QueueStore
from mq.routing.broker import Broker
from mq.runtime.real import RealNode
from mq.system import build_broker

ROOT = Path(__file__).resolve().parent.parent
RUNS = 3
TO_A_WRITE = 64
QUEUES = 8
HOST = encode_host("127.0.0.1:10911")


def measure() -> dict[str, object]:
    """Name with its unit -> figure."""
    events = january()
    append_s = min(_on_a_store(2, events, _append) for _ in range(RUNS))
    dispatch_s = min(_on_a_store(3, events, _append) for _ in range(RUNS))
    recover_s = min(_on_a_store(3, events, _recover) for _ in range(RUNS))
    return {
        "events": len(events),
        "toy_seconds": round(min(_toy_s() for _ in range(RUNS)), 2),
        "appended_records_per_s": _thousands(len(events) / append_s),
        "appended_with_queue_and_index_records_per_s": _thousands(len(events) / dispatch_s),
        "recovered_from_the_log_alone_records_per_s": _thousands(len(events) / recover_s),
    }


def _thousands(figure: float) -> int:
    return round(figure / 1000) * 1000


def _toy_s() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "chapters.toy"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


Job = Callable[[Broker, tuple[Event, ...]], Awaitable[float]]


def _on_a_store(chapter: int, events: tuple[Event, ...], job: Job) -> float:
    async def run() -> float:
        with tempfile.TemporaryDirectory() as folder:
            node = RealNode("EWR", folder)
            broker = build_broker(node, {"listenPort": "0", "mappedFileSizeCommitLog": str(1 << 20)}, chapter)
            await broker.start()
            seconds = await job(broker, events)
            await broker.stop()
            node.real_disk.close()
            return seconds

    return asyncio.run(run())


async def _append(broker: Broker, events: tuple[Event, ...]) -> float:
    store, answered = broker.part(MessageStore), 0

    def done(_: object) -> None:
        nonlocal answered
        answered += 1

    messages = [_inner(event) for event in events]
    began = time.perf_counter()
    for start in range(0, len(messages), TO_A_WRITE):
        for message in messages[start : start + TO_A_WRITE]:
            store.put(message, done)
        store.write_out()
        await asyncio.sleep(0)
    seconds = time.perf_counter() - began
    assert answered == len(events), "every event is answered, and so dispatched"
    return seconds


async def _recover(broker: Broker, events: tuple[Event, ...]) -> float:
    """Every queue and index made again from the log, as after the loss of both."""
    await _append(broker, events)
    await broker.stop()
    assert isinstance(broker.node, RealNode)
    root = Path(broker.node.real_disk.root)
    for name in ("consumequeue", "index"):
        for path in sorted((root / name).rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    again = build_broker(broker.node, {"listenPort": "0", "mappedFileSizeCommitLog": str(1 << 20)}, 3)
    began = time.perf_counter()
    await again.start()
    seconds = time.perf_counter() - began
    assert sum(again.part(QueueStore).queue_ends().values()) == len(events)
    await again.stop()
    return seconds


def _inner(event: Event) -> InnerMessage:
    properties = {"KEYS": event.key, "TAGS": event.tag}
    text = f"KEYS\x01{event.key}\x02TAGS\x01{event.tag}"
    queue_id = crc32(event.key.encode()) % QUEUES
    return InnerMessage("flights", queue_id, event.body, properties, text, event.when_ms, HOST, HOST)
