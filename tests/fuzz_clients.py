"""Fuzzing clients: a server that answers as a real one would, but some answers are damaged on the way.

What must hold: every call of a client ends, with a result or with an MQError, whatever came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from mq.commitlog.client import Producer
from mq.commitlog.message import Message
from mq.consumequeue.client import PullConsumer
from mq.routing.client import ClientInstance, MessageQueue, create_topic, list_topics
from mq.routing.topics import TopicConfig
from mq.runtime.errors import MQError
from mq.sim.simulation import Simulation
from mq.system import build_broker, build_namesrv
from mq.wire.codec import encode_frame
from mq.wire.rpc import Handler, Request
from mq.wire.server import RpcServer
from tests.fuzz_findings import Notes, watched
from tests.fuzz_mutators import frame_of
from tests.fuzz_servers import Reader

LIE_CHANCE = 0.4
PORT = 10911
LONGEST_CALL_S = 120  # virtual


class Everything(dict[int, Handler]):
    """A processor table in which every code has the same handler."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler

    def get(self, code: int, default: Any = None) -> Any:
        return self.handler


class Liar:
    """A port that passes requests on to a real server, and damages some of its answers."""

    def __init__(self, sim: Simulation, name: str, behind: RpcServer, draw: Random) -> None:
        self.sim = sim
        self.name = name
        self.behind = behind
        self.draw = draw
        self.is_honest = True
        self.last = b""
        self.server = RpcServer(sim.node(name))
        self.server.registry.table = Everything(self.answer)

    async def answer(self, request: Request) -> None:
        """Ask the real one; its answer, damaged or not."""
        reader = Reader(self.behind, encode_frame(request.command))
        reader.feed()
        for _ in range(40):
            if reader.transport.written or request.command.is_oneway:
                break
            await asyncio.sleep(0.05)
        reply = reader.transport.written
        reader.connection.connection_lost(None)
        if not self.is_honest and self.draw.random() < LIE_CHANCE:
            reply = self.last = frame_of(reply, self.draw, self.last)
        request.reply_frame(reply)


class Client:
    """A producer and a consumer behind liars."""

    def __init__(self, instance: ClientInstance) -> None:
        self.instance = instance
        self.producer = Producer(instance, "PG")
        self.consumer = PullConsumer(instance, "CG")
        self.queue = MessageQueue("Made", "broker-a", 0)

    def calls(self) -> list[Callable[[], Awaitable[object]]]:
        """What an application may do."""
        producer, consumer, queue, instance = self.producer, self.consumer, self.queue, self.instance
        return [
            lambda: producer.send(Message("Made", b"one", "TagA", "k1")),
            lambda: producer.send(Message("Made", b"two"), queue),
            lambda: producer.send_batch([Message("Made", b"a"), Message("Made", b"b")]),
            lambda: producer.queues("Made"),
            lambda: consumer.fetch_queues("Made"),
            lambda: consumer.pull(queue, "TagA || TagB", 0),
            lambda: consumer.pull(queue, "*", 0, 3),
            lambda: consumer.max_offset(queue),
            lambda: consumer.min_offset(queue),
            lambda: consumer.earliest(queue),
            lambda: consumer.search_offset(queue, 1),
            lambda: consumer.query_offset(queue),
            lambda: consumer.update_offset(queue, 1),
            lambda: consumer.query_message("Made", "k1"),
            lambda: instance.routes.refresh("Made"),
            lambda: instance.heartbeat(),
            lambda: instance.poll(),
            lambda: list_topics(instance),
            lambda: create_topic(instance, f"{instance.routes.broker_address('broker-a')}", TopicConfig("N")),
        ]


def run(draw: Random, count: int, notes: Notes) -> None:
    """`count` calls of clients, each with damaged answers."""
    with Simulation(draw.randrange(1 << 30)) as sim, watched(600):
        liars, client = sim.run(_open(sim, draw), 600)
        for case in range(count):
            name_of_call = draw.randrange(len(client.calls()))
            with notes.one(case, b""):
                _one(sim, liars, client, name_of_call, notes)
            notes.data = liars[0].last
            for node, what, error in sim.failures:
                notes.raised(error, f"{what} of {node}")
            sim.failures.clear()
            sim.events.clear()


def _one(sim: Simulation, liars: list[Liar], client: Client, call: int, notes: Notes) -> None:
    for liar in liars:
        liar.is_honest = False

    async def ended() -> None:
        try:
            await client.calls()[call]()
        except MQError as error:
            assert error.remark is not None

    try:
        sim.run(sim.on("client", ended()), LONGEST_CALL_S)
    except TimeoutError:
        notes.fault(f"call {call} does not end", liars[0].last + liars[1].last)
    except Exception as error:  # noqa: BLE001 - as above
        notes.data = b" | ".join(liar.last for liar in liars)
        notes.raised(error, f"call {call} of a client")
    if call % 7 == 0:
        for liar in liars:
            liar.is_honest = True
        try:
            sim.run(sim.on("client", client.instance.poll()), LONGEST_CALL_S)
        except MQError:
            return


async def _open(sim: Simulation, draw: Random) -> tuple[list[Liar], Client]:
    namesrv = build_namesrv(sim.node("ns"))
    broker_liar_at = sim.node("liar b").address
    properties = {
        "namesrvAddr": f"{sim.node('ns').address}:9876", "brokerIP1": broker_liar_at,
        "mappedFileSizeCommitLog": str(1 << 20), "maxHashSlotNum": "1000", "maxIndexNum": "2000",
    }  # fmt: skip
    broker = build_broker(sim.node("b"), properties)
    await sim.on("ns", namesrv.start())
    await sim.on("b", broker.start())
    liars = [Liar(sim, "liar ns", namesrv.server, draw), Liar(sim, "liar b", broker.server, draw)]
    for liar in liars:
        await sim.on(liar.name, liar.server.start(PORT))
    instance = ClientInstance(sim.node("client"), f"{sim.node('liar ns').address}:{PORT}")
    client = Client(instance)
    await sim.on("client", instance.start())
    await sim.on("client", create_topic(instance, f"{broker_liar_at}:{PORT}", TopicConfig("Made", 2, 2)))
    for part in (client.producer, client.consumer):
        await sim.on("client", instance.add(part))
    await sim.on("client", client.producer.send(Message("Made", b"first", "TagA", "k1")))
    await sim.on("client", client.consumer.fetch_queues("Made"))
    return liars, client
