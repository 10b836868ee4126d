"""Trouble: what is wrong with a machine's disk at the moment, to be set and mended while it runs · depth

What always holds: a machine's disk has one trouble or none; a new one takes the place of the old. It outlives
the process, as a full disk does, and is the same for files that were open before it came.
"""

import asyncio
from collections.abc import Callable

from mq.runtime.disk import Disk, DiskUsage, File
from mq.runtime.node import Node
from mq.sim.faults import Bytes, DiskFault, FailingDisk, FullDisk, ReadOnlyDisk, SlowDisk, StartSync
from mq.sim.simulation import Simulation

Make = Callable[[Node, Disk], DiskFault]


class Trouble:
    """The state of one machine's disk. `put` it on a simulation's node once; then set it at any time."""

    def __init__(self) -> None:
        self._make: Make = DiskFault
        self._disks: list[TroubledDisk] = []

    def put(self, simulation: Simulation, name: str) -> None:
        """Stand between the node and its disk, in this life and the later ones."""
        simulation.wrap_disk(name, self._wrap)

    def _wrap(self, node: Node, disk: Disk) -> "TroubledDisk":
        self._disks = [TroubledDisk(node, disk, self._make)]  # earlier lives are over
        return self._disks[0]

    def _set(self, make: Make) -> None:
        self._make = make
        for disk in self._disks:
            disk.become(make)

    def mend(self) -> None:
        """Nothing is wrong any more."""
        self._set(DiskFault)

    def slow(self, extra_ms: float) -> None:
        """Every sync takes so much longer."""
        self._set(lambda node, disk: SlowDisk(node, disk, extra_ms))

    def full(self, room_bytes: int) -> None:
        """So many bytes more, then ENOSPC."""
        self._set(lambda node, disk: FullDisk(node, disk, room_bytes))

    def fail(self, kind: str, nth: int) -> None:
        """The `nth` call of this kind from now on fails with EIO."""
        self._set(lambda node, disk: FailingDisk(node, disk, kind, nth))

    def read_only(self) -> None:
        """EROFS for every change."""
        self._set(ReadOnlyDisk)


class TroubledDisk(DiskFault):
    """Passes each call through the trouble of the moment."""

    def __init__(self, node: Node, inner: Disk, make: Make) -> None:
        super().__init__(node, inner)
        self.become(make)

    def become(self, make: Make) -> None:
        """From now on, this is what is wrong."""
        self._trouble = make(self.node, self.inner)

    def before(self, kind: str, path: str) -> None:
        self._trouble.before(kind, path)

    def write(self, file: File, position: int, data: Bytes) -> None:
        self._trouble.write(file, position, data)

    def sync(self, start: StartSync, kind: str, file: File | None) -> "asyncio.Future[None]":
        return self._trouble.sync(start, kind, file)

    def usage(self) -> DiskUsage:
        return self._trouble.usage()
