"""What the command line asks of NameServers and brokers, and how it shows the answers.

What always holds: a command is a coroutine that prints to stdout, and raises MQError or OSError when it
cannot do what it was asked. Whatever happens, its connections are closed.

Each command imports what it needs when it runs, so that `mq --help` and a broker of chapter 1 load no more
than they use.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mq.runtime.errors import MQError
from mq.runtime.journal import Event
from mq.runtime.real import RealNode

if TYPE_CHECKING:
    from mq.commitlog.record import MessageExt
    from mq.consumequeue.client import PullConsumer
    from mq.routing.client import ClientInstance, MessageQueue

NAMESRV = "127.0.0.1:9876"
GROUP = "mq-cli"
PERMS = {"r": 4, "w": 2, "x": 1}  # x: topics that do not exist yet may be made after it
EVERY_BROKER_HAS = "SELF_TEST_TOPIC"  # whoever has its route knows all brokers
PULL_AT_ONCE = 32


@asynccontextmanager
async def client(options: argparse.Namespace) -> AsyncIterator[ClientInstance]:
    """A client instance that is started, and stopped whatever happens."""
    from mq.routing.client import ClientInstance

    node = RealNode("mq", ".")
    node.journal.complaint_listeners.append(complain)
    instance = ClientInstance(node, options.namesrv)
    await instance.start()
    try:
        yield instance
    finally:
        await instance.stop()
        node.real_disk.close()


async def create_topic(options: argparse.Namespace) -> None:
    """`mq topic create`."""
    from mq.routing import client as routing
    from mq.routing.topics import TopicConfig

    perm = sum(bit for letter, bit in PERMS.items() if letter in options.perm)
    config = TopicConfig(options.topic, options.queues, options.queues, perm)
    async with client(options) as instance:
        names = [each.broker_name for each in (await instance.routes.find(EVERY_BROKER_HAS)).brokers]
        for name in options.broker or names:
            address = instance.routes.broker_address(name)
            if address is None:
                raise MQError(f"no master of {name!r} is known; there are: {', '.join(names)}")
            await routing.create_topic(instance, address, config)
            print(f"{options.topic}: {options.queues} queues on {name}")


async def list_topics(options: argparse.Namespace) -> None:
    """`mq topic list`."""
    async with client(options) as instance:
        for topic in await topic_names(instance, options.all):
            print(topic)


async def topic_names(instance: ClientInstance, system_too: bool) -> list[str]:
    """The topics that the NameServer knows, sorted."""
    from mq.routing.bodies import as_list, read_object
    from mq.wire.codes import RequestCode
    from mq.wire.command import RemotingCommand
    from mq.wire.rpc import expect_success

    command = RemotingCommand(RequestCode.GET_ALL_TOPIC_LIST_FROM_NAMESERVER)
    answer = expect_success(await instance.rpc.invoke(instance.routes.name_servers.current, command))
    names = as_list(read_object(answer.body, "the list of topics").get("topicList"), "topicList")
    if system_too or not names:
        return sorted(names)
    own = {broker.broker_name for broker in (await instance.routes.find(EVERY_BROKER_HAS)).brokers}
    return sorted(name for name in names if name not in own and not is_system(name, names))


async def show_route(options: argparse.Namespace) -> None:
    """`mq route`."""
    async with client(options) as instance:
        route = await instance.routes.find(options.topic)
        for broker in route.brokers:
            for number, address in sorted(broker.addresses.items()):
                role = "master" if number == 0 else f"slave {number}"
                print(f"{broker.broker_name:<16} {role:<8} {address:<22} cluster {broker.cluster}")
        for queues in route.queues:
            numbers = f"write {queues.write_queue_nums:>3}  read {queues.read_queue_nums:>3}"
            perm = "".join(letter for letter, bit in PERMS.items() if queues.perm & bit)
            print(f"{queues.broker_name:<16} queues   {numbers}  perm {perm or 'none'}")


async def send(options: argparse.Namespace) -> None:
    """`mq send`."""
    from mq.commitlog.client import Producer
    from mq.commitlog.message import Message

    async with client(options) as instance:
        producer = Producer(instance, options.group)
        await instance.add(producer)
        queue = None
        if options.queue:
            queue = one_of(await writable(instance, options.topic), options.queue)
        for body in bodies(options):
            message = Message(options.topic, body, options.tags, options.keys)
            result = await producer.send(message, queue)
            where = f"{result.queue.broker_name}/{result.queue.queue_id} #{result.queue_offset}"
            print(f"{result.status.name}  {where}  {result.offset_msg_id}", flush=True)


def bodies(options: argparse.Namespace) -> Iterable[bytes]:
    """The bodies to send: the argument, or standard input as one body or line by line."""
    if options.body not in (None, "-"):
        once = [str(options.body).encode("utf-8", "surrogateescape")]
    elif options.lines:
        told = [line.rstrip(b"\r\n") for line in sys.stdin.buffer]
        once = [line for line in told if line]
    else:
        once = [sys.stdin.buffer.read()]
    return once * int(options.count)


async def pull(options: argparse.Namespace) -> None:
    """`mq pull`."""
    from mq.consumequeue.client import PullConsumer

    async with client(options) as instance:
        consumer = PullConsumer(instance, options.group)
        await instance.add(consumer)
        queues = await consumer.fetch_queues(options.topic)
        left = options.max
        for queue in matching(queues, options.queue):
            low, high = await consumer.min_offset(queue), await consumer.max_offset(queue)
            queue_offset = low if options.offset is None else options.offset
            if options.since is not None:
                queue_offset = await place_of(consumer, queue, options.since)
            while left > 0 and queue_offset < high:
                outcome = await consumer.pull(queue, options.tags, queue_offset, min(left, PULL_AT_ONCE))
                for message in outcome.messages[:left]:
                    show_message(message, queue.broker_name, options.raw)
                left -= len(outcome.messages)
                if outcome.next_begin_offset <= queue_offset:
                    break
                queue_offset = outcome.next_begin_offset


async def place_of(consumer: PullConsumer, queue: MessageQueue, wanted: str) -> int:
    """The queue offset that `earliest`, `latest` or a time names."""
    if wanted == "earliest":
        return await consumer.min_offset(queue)
    end = await consumer.max_offset(queue)
    if wanted == "latest" or end == 0:
        return end
    found = await consumer.search_offset(queue, time_of(wanted))
    return max(found, await consumer.min_offset(queue))


def time_of(text: str) -> int:
    """Milliseconds since 1970: `1357000000000`, or `2013-01-01T06:00` (UTC). Raises ValueError."""
    if text.isdecimal():
        return int(text)
    told = datetime.fromisoformat(text)
    return round((told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp() * 1000)


async def query(options: argparse.Namespace) -> None:
    """`mq query`."""
    from mq.commitlog.client import view_message
    from mq.consumequeue.client import PullConsumer

    async with client(options) as instance:
        if options.id is not None:
            message = await view_message(instance, options.id)
            show_message(message, message.store_host, options.raw)
            return
        consumer = PullConsumer(instance, options.group)
        await instance.add(consumer)
        topics = [options.topic] if options.topic else await topic_names(instance, system_too=False)
        found = 0
        for topic in topics:
            for message in await consumer.query_message(topic, options.key, options.max, 0, (1 << 63) - 1):
                show_message(message, message.store_host, options.raw)
                found += 1
        if not found:
            raise MQError(f"no message has the key {options.key!r}")


def show_message(message: MessageExt, where: str, raw: bool) -> None:
    """One message as one line, or its body alone."""
    from mq.inspect import readable, when

    if raw:
        sys.stdout.buffer.write(message.body + b"\n")
        sys.stdout.buffer.flush()
        return
    place = f"{where}/{message.queue_id} #{message.queue_offset}"
    labels = f"{message.tags or '-'}  {' '.join(message.keys) or '-'}"
    print(f"{place}  {when(message.store_timestamp_ms)}  {labels}  {readable(message.body, 4096)}")


async def writable(instance: ClientInstance, topic: str) -> list[MessageQueue]:
    """The queues that a producer may send to."""
    from mq.routing.client import publish_queues

    return publish_queues(await instance.routes.find(topic), topic)


def matching(queues: list[MessageQueue], wanted: str | None) -> list[MessageQueue]:
    """The queues that `N`, `BROKER` or `BROKER/N` names; all when nothing is said. Raises MQError."""
    name, _, number = wanted.rpartition("/") if wanted else ("", "", "")
    if wanted and not name and not number.isdecimal():
        name, number = wanted, ""
    found = [
        queue
        for queue in sorted(queues)
        if (not name or queue.broker_name == name) and (not number or str(queue.queue_id) == number)
    ]
    if not found:
        all_of_them = ", ".join(f"{queue.broker_name}/{queue.queue_id}" for queue in sorted(queues)[:16])
        raise MQError(f"no queue {wanted!r} here; there are: {all_of_them or 'none'}")
    return found


def one_of(queues: list[MessageQueue], wanted: str) -> MessageQueue:
    """The one queue that is meant. Raises MQError."""
    found = matching(queues, wanted)
    if len(found) > 1:
        raise MQError(f"{len(found)} queues are called {wanted!r}: say BROKER/N")
    return found[0]


def is_system(topic: str, names: Iterable[str]) -> bool:
    """Whether brokers have this topic for themselves."""
    from mq.routing import topics

    own = topic in topics.SYSTEM_TOPICS or topic.startswith(("%", topics.SYSTEM_TOPIC_PREFIX))
    return own or topic.endswith("_REPLY_TOPIC") or f"{topic}_REPLY_TOPIC" in names


def complain(event: Event) -> None:
    """One line of the journal for the operator."""
    shown = "".join(f" {name}={value}" for name, value in event.fields)
    because = f" because {event.cause}" if event.cause else ""
    print(f"{event.node}: {event.kind}{shown}{because}".replace("\n", " "), file=sys.stderr, flush=True)
