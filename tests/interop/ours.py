"""What our own clients see at a NameServer and its broker, whoever wrote those."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from mq.commitlog.client import Producer, SendResult
from mq.commitlog.message import Message
from mq.commitlog.record import MessageExt
from mq.consumequeue.client import PullConsumer
from mq.routing import client as routing
from mq.routing.client import ClientInstance
from mq.routing.topics import TopicConfig
from mq.runtime.real import RealNode

T = TypeVar("T")
END_OF_TIME_MS = (1 << 63) - 1


def with_client(namesrv: str, work: Callable[[ClientInstance], Awaitable[T]]) -> T:
    """Run `work` with a client instance that is started, and stopped whatever happens."""

    async def run() -> T:
        node = RealNode("interop", ".")
        instance = ClientInstance(node, namesrv)
        await instance.start()
        try:
            return await work(instance)
        finally:
            await instance.stop()
            node.real_disk.close()

    return asyncio.run(run())


def create_topic(namesrv: str, topic: str, queues: int = 4) -> None:
    """On every broker."""

    async def work(instance: ClientInstance) -> None:
        for broker in (await instance.routes.find("TBW102")).brokers:
            await routing.create_topic(instance, broker.addresses[0], TopicConfig(topic, queues, queues))

    with_client(namesrv, work)


def send_all(namesrv: str, messages: list[Message]) -> list[SendResult]:
    """One after the other."""

    async def work(instance: ClientInstance) -> list[SendResult]:
        producer = Producer(instance, "PG_ours")
        await instance.add(producer)
        return [await producer.send(message) for message in messages]

    return with_client(namesrv, work)


def send_batch(namesrv: str, messages: list[Message]) -> SendResult:
    """All in one request."""

    async def work(instance: ClientInstance) -> SendResult:
        producer = Producer(instance, "PG_ours")
        await instance.add(producer)
        return await producer.send_batch(messages)

    return with_client(namesrv, work)


def pull_all(namesrv: str, topic: str, expression: str = "*") -> list[MessageExt]:
    """Every message of a topic, queue by queue."""

    async def work(instance: ClientInstance) -> list[MessageExt]:
        consumer = PullConsumer(instance, "CG_ours")
        await instance.add(consumer)
        queues = await consumer.fetch_queues(topic)
        await instance.heartbeat()
        found: list[MessageExt] = []
        for queue in sorted(queues):
            at, end = await consumer.min_offset(queue), await consumer.max_offset(queue)
            while at < end:
                outcome = await consumer.pull(queue, expression, at)
                found += outcome.messages
                at = outcome.next_begin_offset
        return found

    return with_client(namesrv, work)


def query(namesrv: str, topic: str, key: str) -> list[MessageExt]:
    """By key."""

    async def work(instance: ClientInstance) -> list[MessageExt]:
        consumer = PullConsumer(instance, "CG_ours")
        await instance.add(consumer)
        return await consumer.query_message(topic, key, 32, 0, END_OF_TIME_MS)

    return with_client(namesrv, work)


def seen(messages: list[MessageExt]) -> list[tuple[str, str | None, str]]:
    """Body, tag and keys of each, sorted: what every client must agree about."""
    return sorted((each.body.decode(), each.tags, " ".join(each.keys)) for each in messages)


def rows_of(told: list[dict[str, Any]]) -> list[tuple[str, str | None, str]]:
    """The same of what another client told."""
    return sorted((each["body"], each.get("tags") or None, each.get("keys") or "") for each in told)


def commit_and_ask(namesrv: str, topic: str) -> tuple[int, int]:
    """Commit 2 in the topic's first queue; what the broker says now, to this client and to another one."""

    async def commit(instance: ClientInstance) -> int:
        consumer = PullConsumer(instance, "CG_ours")
        await instance.add(consumer)
        first = min(await consumer.fetch_queues(topic))
        await consumer.update_offset(first, 2)
        return await consumer.query_offset(first)

    return with_client(namesrv, commit), offset_of(namesrv, topic)


def offset_of(namesrv: str, topic: str) -> int:
    """Where the group goes on in the topic's first queue."""

    async def ask(instance: ClientInstance) -> int:
        consumer = PullConsumer(instance, "CG_ours")
        await instance.add(consumer)
        return await consumer.query_offset(min(await consumer.fetch_queues(topic)))

    return with_client(namesrv, ask)
