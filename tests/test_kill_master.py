"""Real processes on loopback: a master killed under load, and a line between the two that says nothing."""

import asyncio
from pathlib import Path

import pytest

from chapters.ch04_replication.processes import NAME, Processes
from mq.commitlog.client import Producer, SendStatus
from mq.commitlog.message import Message
from mq.routing.client import ClientInstance, create_topic
from mq.routing.route import MessageQueue
from mq.routing.topics import TopicConfig
from mq.runtime.real import RealNode
from tests.kill_master import MASTER, SETTINGS, SLAVE, TOPIC, kill_again_and_again, same_bytes

KILLS = 5


def test_a_master_killed_under_load_leaves_everything_that_was_promised_on_its_slave(tmp_path: Path) -> None:
    found = asyncio.run(kill_again_and_again(tmp_path, KILLS))
    assert found.rounds == KILLS and len(found.acknowledged) > KILLS * 50
    assert found.compared_bytes > 100_000
    assert len(list((tmp_path / SLAVE / "commitlog").iterdir())) > 3, "the slave's log never rolled"


EAGER = """
from mq.cli import main
from mq.replication.haservice import HAService

def acknowledge(self, result):
    self.node.call_later(100, lambda: wake(self))

wake, HAService.wake = HAService.wake, lambda self: None
HAService.acknowledge = acknowledge
main()
"""


def test_a_master_that_acknowledges_before_its_slave_has_it_is_found_out(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"^lost: \d+ of \d+ acknowledged"):
        asyncio.run(kill_again_and_again(tmp_path, KILLS, ("-c", EAGER)))


class Line:
    """A proxy between slave and master that forwards bytes until it is told to say nothing.

    When it is silent, both of its connections stand, and neither end is told anything.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.is_silent = False
        self.connections = 0
        self.closed_by: dict[str, asyncio.Event] = {"slave": asyncio.Event(), "master": asyncio.Event()}
        self._tasks: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> str:
        """Listen; returns the address."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        return f"{host}:{port}"

    async def stop(self) -> None:
        """Close everything."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.transport.abort()
        closing = [writer.wait_closed() for writer in self._writers]
        await asyncio.gather(*self._tasks, *closing, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        host, _, port = self.target.rpartition(":")
        there, back = await asyncio.open_connection(host, int(port))
        self._writers += [writer, back]
        for who, source, sink in (("slave", reader, back), ("master", there, writer)):
            self._tasks.append(asyncio.create_task(self._forward(who, source, sink)))

    async def _forward(self, who: str, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                if not self.is_silent:
                    sink.write(data)
        except ConnectionError:
            pass
        if self.is_silent:
            self.closed_by[who].set()  # it has given up by itself, and the other is not told
        else:
            sink.close()


IMPATIENT = {"haSendHeartbeatInterval": "150", "haHousekeepingInterval": "600"}


async def half_open(folder: Path) -> None:
    """Follow through a proxy, silence it, see both ends notice, let it speak again."""
    node, processes = RealNode("client", str(folder / "client")), Processes(folder, {**SETTINGS, **IMPATIENT})
    line = None
    try:
        await processes.start_namesrv()
        master = await processes.start(MASTER, role="SYNC_MASTER", slaveTimeout="400")
        line = Line(processes.ha_address(MASTER))
        await processes.start(SLAVE, role="SLAVE", haMasterAddress=await line.start())
        instance = ClientInstance(node, processes.namesrv)
        await create_topic(instance, master, TopicConfig(TOPIC, 1, 1))
        producer, numbers = Producer(instance, "load-group"), iter(range(1 << 20))

        async def send() -> SendStatus:
            message = Message(TOPIC, b"%d" % next(numbers))
            return (await producer.send(message, MessageQueue(TOPIC, NAME, 0))).status

        async def send_until(status: SendStatus) -> None:
            async with asyncio.timeout(30):
                while await send() is not status:
                    await asyncio.sleep(0.02)

        await send_until(SendStatus.SEND_OK)
        line.is_silent = True
        assert await send() is SendStatus.FLUSH_SLAVE_TIMEOUT, (
            "a half-open line looks like a slow one at first"
        )
        async with asyncio.timeout(30):
            await asyncio.gather(*[event.wait() for event in line.closed_by.values()])
        assert await send() is SendStatus.SLAVE_NOT_AVAILABLE
        line.is_silent = False
        await send_until(SendStatus.SEND_OK)
        assert line.connections >= 2
        instance.rpc.stop()
        assert same_bytes(folder / MASTER, folder / SLAVE) > 500
    finally:
        if line is not None:
            await line.stop()
        await processes.stop()
        node.real_disk.close()


def test_a_line_that_says_nothing_is_noticed_by_both_ends_and_made_again(tmp_path: Path) -> None:
    asyncio.run(half_open(tmp_path))
