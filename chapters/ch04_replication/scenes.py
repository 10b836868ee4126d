"""Eighteen corner cases of a master and its slave, each a short story told by the journal.

    python -m chapters.ch04_replication.scenes            all of them
    python -m chapters.ch04_replication.scenes ahead      one

The simulator plays them with RocketMQ's own waiting times. What is shown: what the two brokers noted, what
the operations desk was promised, and where the two logs end.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache

from chapters.ch04_replication.clientscenes import elsewhere, promises, suggestion
from chapters.ch04_replication.pair import MASTER, SLAVE, Pair, bodies_of
from mq.commitlog.store import MessageStore
from mq.replication.haservice import HAService
from mq.sim.simulation import Simulation, golden_text

SEED = 4
KINDS = (
    "killed", "started", "disk destroyed", "log cut", "line", "desk", "ends", "master found", "following",
    "slave joined", "slave left", "slave refused", "master left", "not following",
)  # fmt: skip
THIRD = "LGA-third"


@dataclass(frozen=True)
class Scene:
    """One story: what it shows in a sentence, and how it goes."""

    about: str
    story: Callable[[Pair], Awaitable[None]]
    role: str = "SYNC_MASTER"
    settings: dict[str, str] = field(default_factory=dict)


async def first_copy(pair: Pair) -> None:
    """The slave comes when something is there already, and follows."""
    await pair.start(MASTER)
    await pair.tell(30)
    await pair.open(SLAVE)
    await pair.equal()
    await pair.tell(30)
    pair.note_ends()


async def last_segment(pair: Pair) -> None:
    """The master's log has rolled three times before the slave comes."""
    await pair.start(MASTER)
    await pair.tell(300)
    await pair.open(SLAVE)
    await pair.equal()
    pair.note_ends()
    pair.sim.record("desk", slaves_first_byte=pair.slave.part(MessageStore).min_physical_offset)


async def reset(pair: Pair) -> None:
    """The connection is reset while bytes are on their way."""
    await pair.start()
    await pair.until(pair.is_following)
    await pair.tell(5)
    pair.slow(40)
    sending = pair.sim.start(pair.tell(5, 3_000), "send")
    await asyncio.sleep(0.02)
    pair.sim.network.reset_connections(pair.sim.node(MASTER).address, pair.sim.node(SLAVE).address)
    pair.sim.record("line", state="reset")
    await sending
    await pair.equal()
    pair.note_ends()


async def silence(pair: Pair) -> None:
    """The line between the two is cut, and nobody is told."""
    await pair.start()
    await pair.until(pair.is_following)
    await pair.tell(3)
    pair.cut()
    await pair.tell(2)
    await asyncio.sleep(20)
    await pair.tell(2)
    pair.heal()
    await pair.equal(120)
    await pair.tell(2)
    pair.note_ends()


async def one_way(pair: Pair) -> None:
    """Bytes to the slave are lost; what it says still arrives."""
    await pair.start()
    await pair.until(pair.is_following)
    pair.cut(both=False)
    await pair.tell(1)
    await asyncio.sleep(25)
    await pair.tell(1)
    pair.heal()
    await pair.equal(120)
    pair.note_ends()


async def unheard(pair: Pair) -> None:
    """What the slave says is lost; bytes to it still arrive."""
    await pair.start()
    await pair.until(pair.is_following)
    for link in pair.sim.network.links(pair.sim.node(SLAVE).address, pair.sim.node(MASTER).address):
        link.is_cut = True
    pair.sim.record("line", state="cut", ways="from the slave")
    await pair.tell(1)
    pair.note_ends()
    await asyncio.sleep(18)
    await pair.tell(1)
    pair.heal()
    await pair.equal(120)
    await pair.tell(1)
    pair.note_ends()


async def torn(pair: Pair) -> None:
    """The slave's process dies when it has half of a record."""
    await pair.start()
    await pair.until(pair.is_following)
    await pair.tell(3)
    _die_after(pair, pushes=2)  # of four
    await pair.tell(1, 100_000)
    pair.sim.restart(SLAVE)
    await pair.open(SLAVE)
    await pair.equal()
    pair.note_ends()


def _die_after(pair: Pair, pushes: int) -> None:
    """Kill the slave's process when it has written so many more pushes."""
    store = pair.slave.part(MessageStore)
    append, left = store.append_raw, pushes

    def append_and_die(physical_offset: int, data: bytes) -> None:
        nonlocal left
        append(physical_offset, data)
        left -= 1
        if not left:
            pair.sim.kill(SLAVE)

    store.append_raw = append_and_die  # type: ignore[method-assign]


async def ahead(pair: Pair) -> None:
    """The master's machine loses its power before it has synced what the slave has."""
    await pair.start()
    await pair.until(pair.is_following)
    await pair.tell(3)
    await asyncio.sleep(12)  # so much is synced
    await pair.tell(3)
    pair.note_ends()
    await pair.again(MASTER, "power", 1)
    pair.note_ends()
    await pair.tell(1)
    await asyncio.sleep(6)
    await pair.tell(10)
    await asyncio.sleep(6)
    pair.note_ends()


async def another_past(pair: Pair) -> None:
    """As `ahead`, with as many bytes written in place of what was lost; then the master starts once more."""
    await pair.start()
    await pair.until(pair.is_following)
    await pair.tell(3)
    await asyncio.sleep(12)
    await pair.tell(3)
    await pair.again(MASTER, "power", 1)
    await asyncio.sleep(6)
    await pair.read()
    await pair.tell(3)
    pair.note_ends()
    await pair.again(MASTER)
    await asyncio.sleep(6)
    await pair.read()
    await pair.tell(1)
    pair.note_ends()
    differ = sum(
        one != other for one, other in zip(bodies_of(pair.master), bodies_of(pair.slave), strict=True)
    )
    pair.sim.record("desk", messages_that_differ=differ)


async def overtaken(pair: Pair) -> None:
    """The master deletes its oldest segments while its slave still waits for their bytes."""
    await pair.start()
    await pair.until(pair.is_following)
    await pair.tell(3)
    pair.slow(2_000)
    await pair.tell(300, 1_000)
    store = pair.master.part(MessageStore)
    while len(store.log.segments.starts) > 1:
        store.log.segments.delete_first()
    pair.sim.record("desk", masters_first_byte=store.min_physical_offset)
    pair.slow(0)
    await asyncio.sleep(6)
    pair.note_ends()


async def empty_master(pair: Pair) -> None:
    """The master comes back with an empty disk."""
    await pair.start()
    await pair.until(pair.is_following)
    await pair.tell(20)
    pair.sim.destroy_disk(MASTER)
    await asyncio.sleep(1)
    pair.sim.restart(MASTER)
    await pair.open(MASTER)
    await asyncio.sleep(5)
    await pair.tell(2)
    pair.note_ends()


async def far_behind(pair: Pair) -> None:
    """The slave is there, and too far behind to be waited for. (256 MiB are 4,000 bytes here.)"""
    await pair.start()
    await pair.until(pair.is_following)
    pair.cut()
    for _ in range(3):
        await pair.tell(1, 2_000)
    await pair.tell(1, 2_000, wait=False)
    pair.heal()
    await pair.equal(120)
    await pair.tell(1)
    pair.note_ends()


async def reading(pair: Pair) -> None:
    """The master dies; the slave is read; the master comes back."""
    await pair.start()
    await pair.until(pair.is_following)
    await pair.tell(10)
    await asyncio.sleep(12)  # the slave has copied the tables
    await pair.read()
    pair.sim.kill(MASTER)
    await pair.read()
    await asyncio.sleep(31)  # the desk has asked for its routes again
    await pair.read()
    pair.sim.restart(MASTER)
    await pair.open(MASTER)
    await asyncio.sleep(31)
    await pair.tell(5)
    await pair.read()
    pair.note_ends()


async def two_slaves(pair: Pair) -> None:
    """One of two slaves is silent: the other is enough."""
    await pair.start(MASTER, SLAVE)
    await pair.open(THIRD, brokerId="2")
    await pair.until(lambda: len(pair.master.part(HAService).slaves) == 2)
    pair.cut()
    await pair.tell(3)
    pair.note_ends()
    pair.sim.kill(THIRD)
    await pair.tell(1)
    pair.heal()
    await pair.equal(120)
    await pair.tell(1)


async def other_segments(pair: Pair) -> None:
    """The slave was given another segment size: their files cannot begin at the same places."""
    await pair.start(MASTER)
    await pair.tell(300)
    await pair.open(SLAVE, mappedFileSizeCommitLog="20480")
    await asyncio.sleep(7)
    pair.note_ends()


SCENES: dict[str, Scene] = {
    "first-copy": Scene("a slave that comes late has everything in the end", first_copy),
    "last-segment": Scene("a slave that has nothing begins with the master's last segment", last_segment),
    "reset": Scene("after a reset the copy goes on at the very byte", reset),
    "silence": Scene("a line that says nothing is taken for dead after twenty seconds", silence),
    "one-way": Scene("a slave that hears nothing goes, although its master hears it", one_way),
    "unheard": Scene("a slave that is not heard is given up, although it has everything", unheard),
    "torn": Scene(
        "a slave that died in the middle of a record cuts it, and asks for it again",
        torn,
        settings={"mappedFileSizeCommitLog": "262144"},
    ),
    "ahead": Scene("a slave that has more than its master is refused until somebody decides", ahead),
    "another-past": Scene("nobody can tell that a slave comes from another past", another_past),
    "overtaken": Scene("a slave that needs what is deleted is told so", overtaken, "ASYNC_MASTER"),
    "empty-master": Scene("a master that comes back empty does not empty its slave", empty_master),
    "far-behind": Scene(
        "a slave that lags too far is not waited for", far_behind, settings={"haSlaveFallbehindMax": "4000"}
    ),
    "reading": Scene("a slave is read when its master is gone, and never written", reading),
    "promises": Scene("who waits for what, under each role and each flush policy", promises),
    "elsewhere": Scene("when a master dies, sends go to another master or fail with a sentence", elsewhere),
    "suggestion": Scene(
        "a reader that has fallen behind is sent to the slave, and back when it has caught up",
        suggestion,
        settings={"physicalMemoryBytes": "50000", "slaveReadEnable": "true"},
    ),
    "two-slaves": Scene("one slave is enough", two_slaves),
    "other-segments": Scene("segments of another size cannot be a copy", other_segments),
}


@cache
def played(name: str) -> str:
    """The scene's journal as text."""
    scene = SCENES[name]
    with Simulation(SEED) as sim:
        sim.run(_played(Pair(sim, scene.role, scene.settings), scene), timeout_s=600)
        text = golden_text(sim.events, KINDS)
    return f"{name}: {scene.about}\n\n{text}"


async def _played(pair: Pair, scene: Scene) -> None:
    await scene.story(pair)


def golden() -> dict[str, str]:
    """One file for each scene."""
    return {f"{name}.txt": played(name) for name in SCENES}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in SCENES]
    if unknown:
        print(f"there is no scene {unknown[0]!r}; there are {', '.join(SCENES)}")
        return 2
    print("\n".join(played(name) for name in names or SCENES))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
