"""I2.1 and I2.4 through a whole broker of chapter 2: it dies, it comes back, and what it said is still true.

There are no queues yet: the log alone knows where each queue goes on.
"""

import asyncio

import pytest

from mq.commitlog.headers import SendMessageRequestHeaderV2
from mq.commitlog.reader import LogReader
from mq.commitlog.record import MessageExt
from mq.commitlog.store import MessageStore
from mq.routing.broker import Broker
from mq.sim.crashes import enumerate_crashes
from mq.sim.faults import SlowDisk
from mq.sim.simulation import Simulation
from mq.system import build_broker
from mq.wire.client import RpcClient
from mq.wire.codes import RequestCode
from mq.wire.command import RemotingCommand
from mq.wire.errors import RequestTimeout, Unreachable
from mq.wire.headers import encode_header

SMALL = {"mappedFileSizeCommitLog": "8192"}
ADDRESS = "10.0.0.1:10911"


def start(sim: Simulation, policy: str) -> Broker:
    """Chapter 2's broker on the machine's present life."""
    broker = build_broker(sim.node("broker"), {**SMALL, "flushDiskType": policy}, chapter=2)
    sim.run(sim.on("broker", broker.start()), timeout_s=60)
    return broker


def log_of(broker: Broker) -> list[MessageExt]:
    """Everything in its log."""
    log = broker.part(MessageStore).log
    return list(LogReader(log, 0, log.end))


class Sender:
    """Sends to one broker and notes what was acknowledged: (topic, queue, queue offset) -> body."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.told: dict[tuple[str, int, int], bytes] = {}

    async def send(self, rpc: RpcClient, body: bytes, topic: str = "flights", queue_id: int = 0) -> None:
        """One message; a send without an answer is not noted."""
        header = SendMessageRequestHeaderV2(
            "PG", topic, "TBW102", 4, queue_id, 0, 1, 0, "KEYS\x01k\x02WAIT\x01true"
        )
        command = RemotingCommand(RequestCode.SEND_MESSAGE_V2, encode_header(header), body)
        try:
            answer = await rpc.invoke(ADDRESS, command)
        except (Unreachable, RequestTimeout):
            return
        if answer.code == 0:
            fields = answer.ext_fields or {}
            place = topic, int(fields["queueId"]), int(fields["queueOffset"])
            assert place not in self.told, f"{place} was given twice"
            self.told[place] = body

    def burst(self, count: int, begin: int = 0) -> None:
        """Sends to six queues of two topics, fifty at a time."""
        rpc = RpcClient(self.sim.node("client"))

        async def all_of_them() -> None:
            for first in range(begin, begin + count, 50):
                sends = [
                    self.send(rpc, b"event %d" % number, ("flights", "gates")[number % 2], number % 3)
                    for number in range(first, min(first + 50, begin + count))
                ]
                await asyncio.gather(*sends)
            rpc.stop()

        self.sim.run(self.sim.on("client", all_of_them()), timeout_s=600)


@pytest.mark.parametrize("policy", ["ASYNC_FLUSH", "SYNC_FLUSH"])
@pytest.mark.parametrize("end", ["clean", "process", "power"])
def test_a_broker_that_comes_back_goes_on_where_its_log_ends(policy: str, end: str) -> None:
    """I2.1, I2.4: no queue offset is given twice or left out, whatever ended the broker's last life."""
    with Simulation(3) as sim:
        broker, sender = start(sim, policy), Sender(sim)
        sender.burst(200)
        assert len(sender.told) == 200
        if end == "clean":
            sim.run(sim.on("broker", broker.stop()), timeout_s=60)
        sim.kill("broker", "process" if end == "clean" else end)
        sim.restart("broker")
        broker = start(sim, policy)
        there = {(each.topic, each.queue_id, each.queue_offset): each.body for each in log_of(broker)}
        if (policy, end) != ("ASYNC_FLUSH", "power"):
            assert there == sender.told
        ends = {place[:2]: 0 for place in sender.told}
        for topic, queue_id, queue_offset in there:
            ends[topic, queue_id] = max(ends[topic, queue_id], queue_offset + 1)
        sender.told = dict(there)
        sender.burst(6, begin=1_000)
        news = {place: body for place, body in sender.told.items() if place not in there}
        assert {place[:2]: place[2] for place in news} == ends


@pytest.mark.parametrize("death", ["process", "power"])
def test_a_death_at_any_disk_call_of_a_broker_loses_nothing_that_was_acknowledged(death: str) -> None:
    """I2.1, I2.2, I2.4 under SYNC_FLUSH, enumerated: before and after each call that changes something."""
    told: dict[tuple[str, int, int], bytes] = {}

    def scenario(sim: Simulation) -> None:
        told.clear()
        sender = Sender(sim)
        sender.told = told
        broker = start(sim, "SYNC_FLUSH")
        sender.burst(60)
        sim.run(sim.on("broker", broker.stop()), timeout_s=60)
        start(sim, "SYNC_FLUSH")
        sender.burst(50, begin=60)

    def check(sim: Simulation) -> None:
        broker = start(sim, "SYNC_FLUSH")
        records = log_of(broker)
        there = {(each.topic, each.queue_id, each.queue_offset): each.body for each in records}
        assert len(there) == len(records), "one queue offset for two messages"
        missing = [body for place, body in told.items() if there.get(place) != body]
        assert not missing, f"{len(missing)} acknowledged messages are missing, the first is {missing[0]!r}"
        sender = Sender(sim)
        sender.told = dict(there)
        sender.burst(6, begin=1_000)
        assert len(sender.told) == len(there) + 6

    report = enumerate_crashes(scenario, check, "broker", death=death, seed=2, changing_only=True, points=120)
    assert report.fired > 60


def test_a_new_topic_is_on_disk_before_its_first_message_is_acknowledged_under_sync_flush() -> None:
    """Else a broker that lost its power would hold a message of a topic that it does not know."""
    for seed in range(10):
        with Simulation(seed) as sim:
            sim.wrap_disk("broker", lambda node, disk: SlowDisk(node, disk, 20))
            start(sim, "SYNC_FLUSH")
            sender = Sender(sim)
            rpc = RpcClient(sim.node("client"))
            sim.run(sim.on("client", sender.send(rpc, b"first", topic="new")), timeout_s=60)
            assert sender.told == {("new", 0, 0): b"first"}
            sim.kill("broker", "power")
            sim.restart("broker")
            broker = start(sim, "SYNC_FLUSH")
            assert broker.topics.find("new") is not None
            assert [each.topic for each in log_of(broker)] == ["new"]
