"""Scenarios: whole runs by name, compared between worlds by their journals · core

What always holds: `run_scenario(name, seed)` gives the same digest on every Python, under every hash seed
and in the browser. To add one, write a function that takes a Simulation and put it into TABLE.
"""

import asyncio
import struct
from collections.abc import Callable

from mq.runtime.node import Node
from mq.sim.brokerscenarios import broker_calm, broker_killed
from mq.sim.faults import SlowDisk
from mq.sim.lab import run
from mq.sim.scenario import Scenario
from mq.sim.simulation import Simulation

LENGTH = struct.Struct(">I")
LEDGER_PORT, LEDGER_PATH = 9876, "ledger/entries"
Take = Callable[["Frames", bytes], None]


class Frames(asyncio.Protocol):
    """Length-prefixed frames; each goes to `take`."""

    def __init__(self, take: Take, lost: Callable[[], None] = lambda: None) -> None:
        self._take = take
        self._lost = lost
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self.open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(self._buffer)[0]
            if len(self._buffer) < end:
                return
            frame, self._buffer = self._buffer[LENGTH.size : end], self._buffer[end:]
            self._take(self, frame)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._lost()

    def send(self, frame: bytes) -> None:
        """Write one frame."""
        assert self._transport is not None
        self._transport.write(LENGTH.pack(len(frame)) + frame)


def read_ledger(node: Node) -> list[bytes]:
    """The entries on the node's disk, up to the first that is not whole."""
    if not node.disk.exists(LEDGER_PATH):
        return []
    file = node.disk.open(LEDGER_PATH)
    data, entries, at = file.read_at(0, file.length()), [], 0
    file.close()
    while at + LENGTH.size <= len(data):
        end = at + LENGTH.size + LENGTH.unpack_from(data, at)[0]
        entry = data[at + LENGTH.size : end]
        if not entry or end > len(data) or entry[-1:] != b".":
            break
        entries.append(entry)
        at = end
    return entries


class Ledger:
    """Appends what it is sent, syncs once for all that waits, then acknowledges."""

    def __init__(self, node: Node) -> None:
        self.node = node
        entries = read_ledger(node)
        self._end = sum(LENGTH.size + len(entry) for entry in entries)
        self._file = node.disk.open(LEDGER_PATH, create=True)
        self._file.set_length(self._end)
        self._waiting: list[tuple[Frames, bytes]] = []
        self._wake = asyncio.Event()
        node.journal.record("ledger read", entries=len(entries))

    async def start(self) -> None:
        """Make the file's name safe, then listen."""
        await self._file.sync()
        await self.node.disk.sync_directory("ledger")
        await self.node.listen(LEDGER_PORT, lambda: Frames(self._append))
        self.node.spawn(self._flush(), "flush")

    def _append(self, peer: Frames, entry: bytes) -> None:
        record = LENGTH.pack(len(entry)) + entry
        self._file.write_at(self._end, record)
        self._end += len(record)
        self._waiting.append((peer, entry))
        self._wake.set()

    async def _flush(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            synced, self._waiting = self._waiting, []
            await self._file.sync()
            for peer, entry in synced:
                if peer.open:
                    peer.send(entry)


class Writer:
    """Sends numbered entries, each until it is acknowledged; connects again when it must."""

    def __init__(self, node: Node, address: str, name: str, count: int) -> None:
        self.node = node
        self.address = address
        self.name = name
        self.count = count
        self.acknowledged: list[bytes] = []
        self._connection: Frames | None = None
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Send all `count` entries."""
        for number in range(self.count):
            entry = f"{self.name}{number} {'x' * self.node.random.randrange(3000)}.".encode()
            while entry not in self.acknowledged:
                await self._send(entry)
            self.node.journal.record("acknowledged", entry=f"{self.name}{number}")
            await self.node.sleep_ms(self.node.random.random() * 20)

    async def _send(self, entry: bytes) -> None:
        """Send it and wait for news; silence for half a second means that the store is gone."""
        self._news.clear()
        try:
            if self._connection is None or not self._connection.open:
                self._connection = await self.node.connect(self.address, self._frames)
            self._connection.send(entry)
            async with asyncio.timeout(0.5):
                await self._news.wait()
        except OSError as error:  # TimeoutError is one
            self.node.journal.record("send failed", type(error).__name__, writer=self.name)
            self._connection = None
            await self.node.sleep_ms(50)

    def _frames(self) -> Frames:
        return Frames(self._acknowledge, self._news.set)

    def _acknowledge(self, peer: Frames, entry: bytes) -> None:
        self.acknowledged.append(entry)
        self._news.set()


def start_ledger(simulation: Simulation, entries: int = 12) -> tuple[list[bytes], Callable[[], None]]:
    """A ledger on `store` and three writers on `client`: what they were told, and the call that runs them."""
    store, client = simulation.node("store"), simulation.node("client")
    writers = [Writer(client, f"{store.address}:{LEDGER_PORT}", name, entries) for name in "abc"]
    told: list[bytes] = []
    for writer in writers:
        writer.acknowledged = told

    async def main() -> None:
        await start_store(simulation)
        await asyncio.gather(*[simulation.on("client", writer.run(), writer.name) for writer in writers])

    return told, lambda: simulation.run(main, timeout_s=120)


async def start_store(simulation: Simulation) -> None:
    """Start the ledger in the present life of `store`."""
    await simulation.on("store", _open_and_start(simulation.node("store")), "start")


async def _open_and_start(node: Node) -> None:
    await Ledger(node).start()


def check_ledger(simulation: Simulation, acknowledged: list[bytes]) -> None:
    """Every acknowledged entry lies on the disk, in order."""
    on_disk = read_ledger(simulation.node("store"))
    lost = [entry for entry in acknowledged if entry not in on_disk]
    assert not lost, f"lost: {len(lost)} acknowledged, first {lost[0][:20]!r}; {len(on_disk)} on the disk"


def _die_and_return(simulation: Simulation, death: str, after_ms: float, away_ms: float) -> None:
    def back() -> None:
        simulation.restart("store")
        simulation.start(start_store(simulation), "start again")

    def down() -> None:
        simulation.kill("store", death)
        simulation.at(away_ms, back)

    simulation.at(after_ms, down)


def ledger_calm(simulation: Simulation) -> None:
    """Nothing goes wrong."""
    start_ledger(simulation)[1]()


def ledger_killed(simulation: Simulation) -> None:
    """The store's process dies twice."""
    told, run = start_ledger(simulation)
    _die_and_return(simulation, "process", 40, 80)
    _die_and_return(simulation, "process", 150, 20)
    run()
    check_ledger(simulation, told)


def ledger_without_power(simulation: Simulation) -> None:
    """The store's machine loses its power, on a slow disk, and comes back after four seconds."""
    told, run = start_ledger(simulation)
    simulation.wrap_disk("store", lambda node, disk: SlowDisk(node, disk, extra_ms=5))
    _die_and_return(simulation, "power", 50, 4_000)
    run()
    check_ledger(simulation, told)


def from_lab(name: str) -> Callable[[Simulation], None]:
    """A story of the lab with the faults that its seed draws; it must hold."""

    def play(simulation: Simulation) -> None:
        outcome = run(Scenario(name, simulation.seed), simulation=simulation)
        assert not outcome.failed, outcome.report()

    return play


TABLE: dict[str, Callable[[Simulation], None]] = {
    "ledger_calm": ledger_calm,
    "ledger_killed": ledger_killed,
    "ledger_without_power": ledger_without_power,
    "broker_calm": broker_calm,
    "broker_killed": broker_killed,
    "split-view": from_lab("split-view"),
    "mixed": from_lab("mixed"),
}
SCENARIOS: list[str] = list(TABLE)


def run_scenario(name: str, seed: int) -> Simulation:
    """Run it to its end and return its world. Raises KeyError for a name that SCENARIOS does not have."""
    with Simulation(seed) as simulation:
        TABLE[name](simulation)
    return simulation
