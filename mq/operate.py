"""What operators do from the command line: look at a cluster, at a group's offsets, delete a topic.

What always holds: as in `commands.py`, whose neighbour this is. A broker that does not answer is a line of
the table and no error: it is what somebody came to see.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mq.commands import EVERY_BROKER_HAS, client, matching, place_of
from mq.runtime.errors import MQError

if TYPE_CHECKING:
    from mq.consumequeue.client import PullConsumer
    from mq.routing.client import ClientInstance, MessageQueue

CLUSTER_HEAD = ("cluster", "broker", "role", "address", "version", "up for", "log", "disk")
OFFSET_HEAD = ("queue", "first", "end", "group is at", "behind")

DELETING = """\
example:
  mq topic delete flights

Its messages cannot be read any more; the log keeps their bytes until it lets go of them. Whoever still sends
to the topic makes it anew, where brokers create topics unasked: stop them first."""
CLUSTER = """\
example:
  mq cluster --namesrv '192.0.2.1:9876;192.0.2.2:9876'"""
OFFSETS = """\
examples:
  mq offset flights --group gates
  mq offset flights --group gates --reset earliest
  mq offset flights --group gates --reset 2013-01-01T06:00 --queue broker-a/3

Stop the group's consumers before a reset: one that runs commits its own offsets over it."""
COMPLETION = """\
examples:
  source <(mq completion bash)      in ~/.bashrc
  source <(mq completion zsh)       in ~/.zshrc, after compinit"""


async def show_cluster(options: argparse.Namespace) -> None:
    """`mq cluster`."""
    from mq.routing.adminclient import cluster_info

    async with client(options) as instance:
        info = await cluster_info(instance)
        if not info.brokers:
            raise MQError(f"no broker is registered at {instance.routes.name_servers.current}")
        rows = []
        for cluster, names in info.clusters.items():
            for broker in (info.brokers[name] for name in names if name in info.brokers):
                for number, address in sorted(broker.addresses.items()):
                    role = "master" if number == 0 else f"slave {number}"
                    told = await _about(instance, address)
                    rows.append((cluster, broker.broker_name, role, address, *told))
        show_table(CLUSTER_HEAD, rows)


async def _about(instance: ClientInstance, address: str) -> tuple[str, str, str, str]:
    """Version, time since its start, size of its log, share of its disk; what it does not tell is `-`."""
    from mq.routing.adminclient import runtime_info

    try:
        told = await runtime_info(instance, address)
    except MQError as error:
        return "no answer", "-", "-", error.remark.partition("\n")[0][:60]
    version = told.get("brokerVersionDesc", "-").removeprefix("V").replace("_", ".")
    up = told.get("runtime", "-").strip("[] ")
    return version, up, _log_size(told), _share(told.get("commitLogDiskRatio", ""))


def _log_size(told: dict[str, str]) -> str:
    try:
        size = int(told["commitLogMaxOffset"]) - int(told["commitLogMinOffset"])
    except (KeyError, ValueError):
        return "-"
    return f"{size:,} bytes"


def _share(ratio: str) -> str:
    try:
        return f"{float(ratio):.0%}"
    except (ValueError, OverflowError):
        return "-"


async def delete_topic(options: argparse.Namespace) -> None:
    """`mq topic delete`: on every broker first, then at every NameServer."""
    from mq.routing import adminclient

    async with client(options) as instance:
        route = await instance.routes.find(options.topic)
        everyone = await instance.routes.find(EVERY_BROKER_HAS)
        for broker in everyone.brokers:
            address = broker.addresses.get(0)
            if address is not None:
                await adminclient.delete_topic_in_broker(instance, address, options.topic)
        await adminclient.delete_topic_in_namesrv(instance, options.topic)
        names = ", ".join(broker.broker_name for broker in route.brokers)
        print(f"{options.topic}: deleted on {names}")


async def show_offsets(options: argparse.Namespace) -> None:
    """`mq offset`."""
    from mq.consumequeue.client import PullConsumer

    async with client(options) as instance:
        consumer = PullConsumer(instance, options.group)
        queues = matching(await consumer.fetch_queues(options.topic), options.queue)
        if options.reset:
            for queue in queues:
                await consumer.update_offset(queue, await place_of(consumer, queue, options.reset))
        show_table(OFFSET_HEAD, [await _progress(consumer, queue) for queue in queues])


async def _progress(consumer: PullConsumer, queue: MessageQueue) -> Sequence[str]:
    low, high = await consumer.min_offset(queue), await consumer.max_offset(queue)
    done = await consumer.query_offset(queue, zero_if_young=False)
    behind = high - max(done, low)
    where = f"{done:,}" if done >= 0 else "never came"
    return f"{queue.broker_name}/{queue.queue_id}", f"{low:,}", f"{high:,}", where, f"{behind:,}"


def show_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as what they hold."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
