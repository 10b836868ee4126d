"""Two machines with one log: what travels between them, byte by byte, and what is left when one has gone.

    python -m chapters.ch04_replication.demo

The conversation of a master and its slave as it is on the wire; the night of January 30, when LGA's machine
dies, under each promise; and how the boards go on reading from the copy.
"""

import asyncio
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from chapters.ch04_replication.losses import losses_text
from chapters.ch04_replication.pair import MASTER, SLAVE, Pair, log_of
from chapters.ch04_replication.scenes import played
from mq.replication.protocol import PUSH_HEAD_BYTES, REPORT_BYTES
from mq.sim.simulation import Simulation
from mq.sim.transport import SimTransport

SEED = 30
SHOWN_BYTES = 4


def wire_text() -> str:
    """The first eleven seconds of a connection, as its bytes."""
    with Simulation(SEED) as sim:
        pair = Pair(sim, "ASYNC_MASTER")
        lines = sim.run(_conversation(pair), timeout_s=60)
        assert log_of(pair.slave) == log_of(pair.master)
    head = f"{'ms':>8}  {'from':<8} {'bytes':<38} meaning"
    return _text(["A slave that has nothing meets a master that has one message.", "", head, *lines])


async def _conversation(pair: Pair) -> list[str]:
    heard: list[tuple[float, str, bytes]] = []
    write = SimTransport.write

    def overheard(self: SimTransport, data: bytes | bytearray | memoryview) -> None:
        if "10912" in (str(self.here[1]), str(self.there[1])):
            who = MASTER if self.here[1] == 10912 else SLAVE
            heard.append((self._network.loop.time() * 1000, who, bytes(data)))
        write(self, data)

    await pair.start(MASTER)
    await pair.send(b"HA51 has left")
    SimTransport.write = overheard  # type: ignore[method-assign]
    try:
        await pair.open(SLAVE)
        await asyncio.sleep(0.5)
        await pair.send(b"UA1545 is late")
        await asyncio.sleep(10.5)
    finally:
        SimTransport.write = write  # type: ignore[method-assign]
    begun_ms = heard[0][0]
    return [f"{at_ms - begun_ms:8.1f}  {who:<8} {_meaning(who, data)}" for at_ms, who, data in heard]


def _meaning(who: str, data: bytes) -> str:
    if who == SLAVE:
        assert len(data) == REPORT_BYTES
        return f"{data.hex(' ', 4):<38} my log ends at {int.from_bytes(data, 'big')}"
    begin, length = int.from_bytes(data[:8], "big"), int.from_bytes(data[8:12], "big")
    shown = data[: PUSH_HEAD_BYTES + SHOWN_BYTES].hex(" ", 4) + (".." if length else "")
    if not length:
        return f"{shown:<38} heartbeat, at {begin}"
    return f"{shown:<38} {length} bytes for {begin}"


def _text(lines: Iterable[str]) -> str:
    return "".join(line.rstrip() + "\n" for line in lines)


def _panels() -> Iterator[tuple[str, str]]:
    yield "what travels between master and slave", wire_text()
    yield "the night of January 30, under each promise", losses_text()
    yield "reading from the copy", played("reading")
    yield "a slave that has more than its master", played("ahead")


def golden() -> dict[str, str]:
    """The conversation; table and scenes are made where they are told."""
    return {"wire.txt": wire_text()}


def main() -> None:
    console = Console()
    for title, text in _panels():
        console.print(Panel(Text(text.rstrip("\n")), title=title, expand=False))


if __name__ == "__main__":
    main()
