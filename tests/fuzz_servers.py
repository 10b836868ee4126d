"""Fuzzing a broker and its NameServer: damaged frames into real connections, in virtual time.

What must hold: nothing escapes a read; every request that can be decoded and wants a reply gets exactly one,
in its own codec; a connection that brought no frame is closed and no other; no handler is surprised; a
healthy client is served all the time; and the store can be opened again, after a stop and after a death.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from functools import cache
from random import Random

from mq.routing.broker import Broker
from mq.routing.namesrv import NameServer
from mq.runtime.errors import MQError
from mq.runtime.journal import Event
from mq.sim.simulation import Simulation
from mq.system import build_broker, build_namesrv
from mq.wire.codec import BINARY, JSON, decode_frame, encode_frame
from mq.wire.codes import RequestCode, request_name
from mq.wire.command import RemotingCommand
from mq.wire.errors import FrameError
from mq.wire.frame import FRAME_MAX_LENGTH
from mq.wire.rpc import Connection
from mq.wire.server import RpcServer
from tests.fuzz_findings import Notes, watched
from tests.fuzz_mutators import frame_of
from tests.interop.steps import AT_BROKER, AT_NAMESRV, STEPS, pull, topic_fields, v2
from tests.wire_rig import NotingTransport, captures, frames_in

BATCH = 64
SETTLE_MS, PATIENCE_MS = 50, 60_000
LONGEST_SEED = 64 << 10
PROPERTIES = {"mappedFileSizeCommitLog": str(1 << 20), "maxHashSlotNum": "1000", "maxIndexNum": "2000"}
AT_ROOT = {"abort", "checkpoint", "commitlog", "config", "consumequeue", "index", "lock"}
CHANGES_ALL = (RequestCode.UPDATE_BROKER_CONFIG, RequestCode.UPDATE_NAMESRV_CONFIG)
"""A request that succeeds in changing the broker's own settings may well make it refuse a healthy send."""

Seeds = dict[str, list[bytes]]


@cache
def step_seeds() -> Seeds:
    """Every request of the script that compares brokers, in both codecs, and every captured one."""
    found: Seeds = {AT_BROKER: [], AT_NAMESRV: []}
    for step in STEPS:
        if len(step.body) <= LONGEST_SEED:
            found[step.at] += [encode_frame(step.command(codec)) for codec in (JSON, BINARY)]
    for capture in captures():
        if capture.direction == "C>S" and capture.body_is_known:
            at = AT_NAMESRV if capture.fields["code"] in (103, 104, 105, 106) else AT_BROKER
            found[at].append(capture.frame)
    return found


@cache
def any_fields() -> dict[str, str]:
    """Every field that any request of the script has: a header for a code that the script does not know."""
    return {name: value for step in STEPS for name, value in (step.fields or {}).items()}


class Reader:
    """One connection and what it sent and got."""

    def __init__(self, server: RpcServer, stream: bytes) -> None:
        self.connection = Connection(server.node, server.registry, server.frame_max_length)
        self.transport = NotingTransport()
        self.stream = stream
        self.connection.connection_made(self.transport)

    def feed(self, *cuts: int) -> None:
        """The stream in pieces, as a network may cut it."""
        at = 0
        for cut in (*sorted(cuts), len(self.stream)):
            if self.transport.closing:
                return
            if cut > at:
                self.connection.data_received(self.stream[at:cut])
                at = cut

    @property
    def replies(self) -> list[RemotingCommand]:
        """What was answered so far."""
        return frames_in(self.transport.written)

    def judge(self) -> str:
        """What is wrong, or nothing."""
        wanted, closes = expected(self.stream)
        written = self.transport.written
        got = Counter((reply.opaque, reply.serialize_type) for reply in self.replies)
        if any(not reply.is_response for reply in self.replies):
            return "a reply without the reply's flag"
        if len(written) > FRAME_MAX_LENGTH:
            return f"a reply of {len(written)} bytes, which no client reads"
        if closes != self.transport.closing:
            return "the connection should have been closed" if closes else "the connection was closed"
        if got - wanted:
            return f"replies that nobody asked for: {got - wanted}"
        if wanted - got and not closes:
            return f"no reply to {wanted - got}"
        return ""


def expected(stream: bytes) -> tuple[Counter[tuple[int, int]], bool]:
    """Which (opaque, codec) must be answered, and whether the connection must be closed."""
    wanted: Counter[tuple[int, int]] = Counter()
    at = 0
    while len(stream) - at >= 4:
        length = int.from_bytes(stream[at : at + 4], "big", signed=True)
        if not 0 <= length <= FRAME_MAX_LENGTH:
            return wanted, True
        if at + 4 + length > len(stream):
            break
        try:
            command = decode_frame(stream[at + 4 : at + 4 + length])
        except FrameError:
            return wanted, True
        if not (command.is_response or command.is_oneway):
            wanted[command.opaque, command.serialize_type] += 1
        at += 4 + length
    return wanted, False


class Servers:
    """A NameServer and a broker with every floor there is, and a world around them."""

    def __init__(self, sim: Simulation, notes: Notes) -> None:
        self.sim = sim
        self.notes = notes
        self.namesrv: NameServer = build_namesrv(sim.node("ns"))
        self.broker: Broker
        self.is_changed = False  # somebody has changed the broker's settings
        self._checks = 0
        sim.run(self._start(), 60)

    async def _start(self) -> None:
        await self.sim.on("ns", self.namesrv.start())
        await self.start_broker()

    async def start_broker(self) -> None:
        """A broker on what the disk holds."""
        properties = {**PROPERTIES, "namesrvAddr": self.namesrv.address}
        self.broker = build_broker(self.sim.node("broker"), properties)
        await self.sim.on("broker", self.broker.start())

    def server(self, at: str) -> RpcServer:
        """The port of one of the two."""
        return self.broker.server if at == AT_BROKER else self.namesrv.server

    def seeds(self) -> Seeds:
        """The script's requests, and one for each code that it does not know."""
        found = {at: list(frames) for at, frames in step_seeds().items()}
        for at in found:
            known = {decode_frame(frame[4:]).code for frame in found[at]}
            for code in sorted(set(self.server(at).processors) - known):
                found[at].append(encode_frame(RemotingCommand(int(code), dict(any_fields()), b"{}")))
        return found

    def settle(self, readers: list[Reader]) -> None:
        """Let what was answered late be answered, and whatever else was begun go on."""
        self.sim.run(asyncio.sleep(SETTLE_MS / 1000), 3600)
        if any(reader.judge() for reader in readers):
            self.sim.run(asyncio.sleep(PATIENCE_MS / 1000), 3600)

    def check(self, readers: list[Reader], first_case: int) -> None:
        """Judge a batch."""
        for number, reader in enumerate(readers):
            self.notes.case, self.notes.data = first_case + number, reader.stream
            try:
                problem = reader.judge()
            except FrameError as error:
                problem = f"a reply that cannot be decoded: {error}"
            if problem:
                self.notes.fault(problem)
            self._look_for_changes(reader)
            reader.connection.connection_lost(None)
        self._check_world()
        self.serve_a_healthy_client()

    def _look_for_changes(self, reader: Reader) -> None:
        if any(reply.code == 0 for reply in reader.replies):
            at, stream = 0, reader.stream
            while at + 4 <= len(stream):
                end = at + 4 + int.from_bytes(stream[at : at + 4], "big")
                try:
                    self.is_changed |= decode_frame(stream[at + 4 : end]).code in CHANGES_ALL
                except FrameError:
                    return
                at = end

    def _check_world(self) -> None:
        for event in self.sim.events:
            if "failed" in event.kind or "not written" in event.kind:
                self.notes.fault(f"{told(event)}, in the batch that ends here")
        self.sim.events.clear()
        for node, what, error in self.sim.failures:
            self.notes.raised(error, f"{what} of {node}, in the batch that ends here,")
        self.sim.failures.clear()
        strange = set(self.sim.node("broker").disk.list("")) - AT_ROOT
        if strange:
            self.notes.fault(f"the store's folder has {sorted(strange)}")

    def serve_a_healthy_client(self) -> None:
        """A topic, a send, a pull, a route: all as if nothing had happened."""
        self._checks += 1
        topic = f"Healthy{self._checks % 8}"
        create = RemotingCommand(RequestCode.UPDATE_AND_CREATE_TOPIC, topic_fields(topic))
        send = RemotingCommand(RequestCode.SEND_MESSAGE_V2, v2(topic), b"healthy")
        end = RemotingCommand(RequestCode.GET_MAX_OFFSET, {"topic": topic, "queueId": "0"})
        for command in (create, send, end):
            replies = self.ask(AT_BROKER, command)
            if len(replies) != 1 or (replies[0].code and not self.is_changed):
                self.notes.fault(f"a healthy {request_name(command.code)} was answered {replies}"[:600])
                return
        stored = int((replies[0].ext_fields or {}).get("offset", "0"))
        found = self.ask(
            AT_BROKER,
            RemotingCommand(RequestCode.PULL_MESSAGE, pull(topic, stored - 1, consumerGroup="HealthyGroup")),
        )
        if not self.is_changed and (len(found) != 1 or b"healthy" not in found[0].body):
            self.notes.fault(f"a healthy pull was answered {found}"[:600])
        route = self.ask(
            AT_NAMESRV, RemotingCommand(RequestCode.GET_ROUTEINFO_BY_TOPIC, {"topic": "NeverMade"})
        )
        if [reply.code for reply in route] != [17]:
            self.notes.fault(f"a healthy question for a route was answered {route}"[:600])

    def ask(self, at: str, command: RemotingCommand) -> list[RemotingCommand]:
        """The replies to one healthy request."""
        reader = Reader(self.server(at), encode_frame(command))
        reader.feed()
        if not reader.transport.written:
            self.sim.run(asyncio.sleep(1), 3600)
        replies = reader.replies
        reader.connection.connection_lost(None)
        return replies

    def open_again(self) -> None:
        """Stop and start, then die and start: what frames left on the disk must be a store."""
        try:
            self.sim.run(self._again(), 3600)
        except MQError as error:
            self.notes.fault(f"the store does not open again: {error}")
            return
        self._check_world()
        self.serve_a_healthy_client()

    async def _again(self) -> None:
        await self.sim.on("broker", self.broker.stop())
        await self.start_broker()
        self.sim.kill("broker")
        self.sim.restart("broker")
        await self.start_broker()


def told(event: Event) -> str:
    """A journal's event without its time, so that two of a kind look alike."""
    return f"{event.kind}: " + ", ".join(f"{name} {value}" for name, value in event.fields)[:600]


def streams(seeds: Seeds, draw: Random) -> Iterator[tuple[str, bytes, tuple[int, ...]]]:
    """Where to, what, and how it is cut, without end."""
    while True:
        at = AT_NAMESRV if draw.random() < 0.2 else AT_BROKER
        here = seeds[at]
        stream = draw.choice(here)
        for _ in range(draw.choice((1, 1, 1, 2))):
            stream = frame_of(stream, draw, draw.choice(here))
        if draw.random() < 0.04:  # a connection that has read this kind of header often knows its shape
            stream = draw.choice(here) * 20 + stream
        elif draw.random() < 0.1:
            stream = draw.choice(here) + stream + draw.choice(here)
        cuts = tuple(draw.randrange(len(stream) + 1) for _ in range(draw.choice((0, 0, 0, 1, 3))))
        yield at, stream, cuts


def run(draw: Random, count: int, notes: Notes) -> None:
    """`count` damaged streams."""
    with Simulation(draw.randrange(1 << 30)) as sim, watched(600):
        servers = Servers(sim, notes)
        seeds = servers.seeds()
        for at, frames in step_seeds().items():  # something to damage: topics, messages, groups
            for frame in frames[::2]:
                servers.ask(at, decode_frame(frame[4:]))
        source = streams(seeds, draw)
        for first in range(0, count, BATCH):
            readers = []
            for case in range(first, min(first + BATCH, count)):
                at, stream, cuts = next(source)
                readers.append(Reader(servers.server(at), stream))
                with notes.one(case, stream):
                    readers[-1].feed(*cuts)
            servers.settle(readers)
            servers.check(readers, first)
        servers.open_again()
