"""The project's own Producer and PullConsumer as a load, in a process of their own.

    python -m tests.bench.own '{"namesrv": "127.0.0.1:9876", "kind": "send", "amount": 10000}'     (see Job)

What always holds: every send must be SEND_OK and every pull in order, and the clock stops when the queues
hold what was sent. `window` sends are under way at a time, each awaited by a task of its own, as an
application would; a pull is under way for each queue.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mq.commitlog.client import Producer, SendStatus
from mq.commitlog.message import Message
from mq.consumequeue.client import PullConsumer, PullStatus
from mq.routing.client import ClientInstance
from mq.routing.route import MessageQueue
from mq.runtime.errors import MQError
from mq.runtime.real import RealNode
from tests.bench.load import ASKED, GROUP, Fault


@dataclass(frozen=True)
class Job:
    """`amount` messages of a topic that is there; `kind` is "send" or "pull"."""

    namesrv: str
    amount: int
    kind: str = "send"
    topic: str = "bench"
    window: int = 64
    body_bytes: int = 100


async def send(instance: ClientInstance, job: Job) -> dict[str, Any]:
    """`window` tasks, each sending one message after the other."""
    producer, consumer = Producer(instance, GROUP), PullConsumer(instance, GROUP)
    await instance.add(producer)
    await instance.add(consumer)
    queues = await consumer.fetch_queues(job.topic)
    before, body, numbers = await _ends(consumer, queues), b"x" * job.body_bytes, iter(range(job.amount))

    async def one_by_one() -> None:
        for number in numbers:
            result = await producer.send(Message(job.topic, body, "TagA", f"N{number:07d}"))
            if result.status is not SendStatus.SEND_OK:
                raise Fault(f"a send ended with {result.status.name}")

    began_s = time.perf_counter()
    await asyncio.gather(*[one_by_one() for _ in range(job.window)])
    there = await _ends(consumer, queues) - before
    seconds = time.perf_counter() - began_s
    if there != job.amount:
        raise Fault(f"{job.amount:,} were sent, and the queues hold {there:,}")
    checked = f"{job.amount:,} SEND_OK = {there:,} in the queues"
    return {"seconds": seconds, "messages": job.amount, "checked": checked}


async def pull(instance: ClientInstance, job: Job) -> dict[str, Any]:
    """One pull for each queue at a time, from the first message to the last and again."""
    consumer = PullConsumer(instance, GROUP)
    await instance.add(consumer)
    queues = [each for each in await consumer.fetch_queues(job.topic) if await consumer.max_offset(each)]
    pulled = 0

    async def follow(queue: MessageQueue) -> None:
        nonlocal pulled
        at = 0
        while pulled < job.amount:
            outcome = await consumer.pull(queue, "*", at, ASKED)
            offsets = [message.queue_offset for message in outcome.messages]
            if outcome.status is not PullStatus.FOUND or offsets != [*range(at, outcome.next_begin_offset)]:
                raise Fault(f"{queue} from {at}: {outcome.status.name}, {offsets}")
            pulled += len(offsets)
            at = outcome.next_begin_offset % outcome.max_offset

    began_s = time.perf_counter()
    await asyncio.gather(*[follow(queue) for queue in queues])
    seconds = time.perf_counter() - began_s
    return {"seconds": seconds, "messages": pulled, "checked": f"{pulled:,} messages, each queue in order"}


async def _ends(consumer: PullConsumer, queues: Sequence[MessageQueue]) -> int:
    return sum([await consumer.max_offset(queue) for queue in queues])


async def run(job: Job) -> dict[str, Any]:
    """Do the job with a client instance of its own. Raises Fault, MQError."""
    node = RealNode("bench", ".")
    instance = ClientInstance(node, job.namesrv)
    await instance.start()
    try:
        return await {"send": send, "pull": pull}[job.kind](instance, job)
    finally:
        await instance.stop()
        node.real_disk.close()


def main(arguments: Sequence[str]) -> int:
    """One job, as JSON; its outcome as JSON in the last line, or a sentence on stderr."""
    try:
        print(json.dumps(asyncio.run(run(Job(**json.loads(arguments[0]))))))
    except (Fault, MQError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
