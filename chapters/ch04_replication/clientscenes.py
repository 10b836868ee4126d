"""What clients meet beside a master and its slave: stories for `scenes`, told by the journal.

A sender waits for disk and slave as its broker was told to; when the master dies, sends go to another or fail
with a sentence; a reader that has fallen behind is sent to the slave.
"""

import asyncio
from collections import Counter

from chapters.ch04_replication.pair import DESK, MASTER, TOPIC, Pair, refused
from mq.commitlog.client import Producer
from mq.commitlog.message import Message
from mq.consumequeue.client import PullConsumer, PullStatus
from mq.routing.route import MessageQueue
from mq.routing.topics import TopicConfig
from mq.system import build_broker

OTHER = "EWR"
PROMISES = [
    (role, flush) for role in ("ASYNC_MASTER", "SYNC_MASTER") for flush in ("ASYNC_FLUSH", "SYNC_FLUSH")
]
SYNC_MS, LINE_MS = 30.0, 100.0


async def promises(pair: Pair) -> None:
    """Each role with each flush policy: a sync takes 30 ms, a byte 100 ms; then the line is cut."""
    await pair.start()
    for role, flush in PROMISES:
        pair.role, pair.settings["flushDiskType"] = role, flush
        await pair.stop(MASTER)
        await pair.open(MASTER)
        await pair.until(pair.is_following)
        pair.sim.record("desk", role=role, flush=flush)
        await pair.read()  # its connection is a new one now
        pair.sim.node(MASTER).machine.platter.sync_ms = SYNC_MS
        pair.slow(LINE_MS)
        await pair.tell(1)
        pair.slow(0)
        pair.cut()
        await pair.tell(1)
        pair.heal()
        await pair.equal(120)
    pair.note_ends()


async def elsewhere(pair: Pair) -> None:
    """Another master takes flights, too, when LGA's dies."""
    await pair.start()
    await pair.until(pair.is_following)
    assert pair.names is not None
    told = {**pair.settings, "brokerName": OTHER, "namesrvAddr": pair.names.address}
    other = build_broker(pair.sim.node(OTHER), told, 4)
    other.topics.put(TopicConfig(TOPIC, 2, 2))
    await pair.sim.on(OTHER, other.start())
    await pair.tell(1)
    await _send_anywhere(pair, 8)
    pair.sim.kill(MASTER)
    await _send_anywhere(pair, 8)
    await asyncio.sleep(31)  # the desk has asked for its routes again
    await _send_in_vain(pair, "a queue of LGA's")
    instance = await pair.desk()
    instance.routes.broker_address = lambda *_: pair.slave.address  # type: ignore[method-assign]
    await _send_in_vain(pair, "the slave itself")


async def _send_in_vain(pair: Pair, to: str) -> None:
    pair.sim.record("desk", await refused(pair, b"nobody takes it"), sent_to=to, promised="nothing")


async def _send_anywhere(pair: Pair, count: int) -> None:
    """Send without a wish; note who took how many."""
    producer = Producer(await pair.desk(), DESK)

    async def work() -> list[str]:
        results = [await producer.send(Message(TOPIC, b"%d" % number)) for number in range(count)]
        return [result.queue.broker_name for result in results]

    took = Counter(await pair.sim.on(DESK, work(), "send"))
    pair.sim.record("desk", sent=count, taken_by=", ".join(f"{name} {took[name]}" for name in sorted(took)))


async def suggestion(pair: Pair) -> None:
    """A reader begins far behind what the master's memory holds: 40 % of 50,000 bytes here."""
    await pair.start()
    await pair.until(pair.is_following)
    await pair.tell(120, 500)
    await asyncio.sleep(12)  # the slave has copied the tables
    await read_along(pair)
    await read_along(pair, at=100)


async def read_along(pair: Pair, at: int = 0) -> None:
    """Pull a queue to its end; note whom the reader was told to ask next, as often as that changes."""
    consumer, queue, told = (
        PullConsumer(await pair.desk(), "gate"),
        MessageQueue(TOPIC, MASTER, 0),
        list[int](),
    )

    async def work() -> None:
        place = at
        while (outcome := await consumer.pull(queue, "*", place)).status is PullStatus.FOUND:
            place = outcome.next_begin_offset
            told.append(consumer._suggested[queue])
            if told[-2:-1] != told[-1:]:
                pair.sim.record("desk", read_to=place, ask_next="slave" if told[-1] else "master")

    pair.sim.record("desk", reads_from=at)
    await pair.sim.on(DESK, work(), "pull")
