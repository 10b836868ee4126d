"""The obvious repair of the toy: write each event to a file, acknowledge, and flush now and then.

One line is one event, and the file is flushed after every hundredth. It survives the death of the process,
and looks safe. Then JFK loses its power a third of a second after midnight, when the plan of January 30 has
just been published. What was not flushed is gone, in whatever order the system wrote its pages back; and a
line that was torn in the middle looks like any other line.
"""

import asyncio
from collections import Counter
from functools import partial
from typing import NamedTuple

from chapters.ch02_commitlog.stores import EVENING_MS, POWER_GOES_MS, evening_at
from mq.runtime.disk import Disk
from mq.sim.simulation import Simulation

FLUSH_EACH = 100


class LineBroker:
    """Appends lines to a file; `lines` is what it finds there."""

    def __init__(self, disk: Disk) -> None:
        self.file = disk.open("log", create=True)
        self.end, self.unflushed = self.file.length(), 0
        disk.sync_directory("")

    def put(self, line: bytes) -> None:
        """Returning is the acknowledgement."""
        self.file.write_at(self.end, line + b"\n")
        self.end += len(line) + 1
        self.unflushed += 1
        if self.unflushed == FLUSH_EACH:
            self.file.sync()
            self.unflushed = 0

    def lines(self) -> list[bytes]:
        """All events in the file."""
        return self.file.read_at(0, self.end).split(b"\n")[:-1]


class Shown(NamedTuple):
    """What was acknowledged, how much of it is missing, and how many lines nobody ever sent."""

    acknowledged: int
    lost: int
    phantom: int


def power_goes(seed: int, death: str = "power") -> Shown:
    """JFK's evening of the 29th and the plan of the 30th, each event at its time; then the machine dies."""
    with Simulation(seed) as sim:
        broker, events = LineBroker(sim.node("JFK").disk), evening_at("JFK")
        for event in events:
            sim.at(event.when_ms - EVENING_MS, partial(broker.put, event.body))
        sim.at(POWER_GOES_MS - EVENING_MS, lambda: sim.kill("JFK", death))
        sim.run(asyncio.sleep((POWER_GOES_MS - EVENING_MS) / 1000 + 1))
        sim.restart("JFK")
        sent = Counter(event.body for event in events)
        there = Counter(LineBroker(sim.node("JFK").disk).lines())
        return Shown(sent.total(), (sent - there).total(), (there - sent).total())
