"""Loss of power: what is synced survives, what is not is lost in every legal way."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mq.runtime.disk import Disk
from mq.sim.faults import FailingDisk, SlowDisk
from mq.sim.simulation import Simulation

Write = tuple[int, bytes]
WRITES = st.lists(st.tuples(st.integers(0, 20_000), st.binary(min_size=1, max_size=9_000)), max_size=6)


def apply(content: bytearray, writes: list[Write]) -> None:
    for position, data in writes:
        content.extend(bytes(max(0, position + len(data) - len(content))))
        content[position : position + len(data)] = data


@given(seed=st.integers(0, 10_000), before=WRITES, after=WRITES)
def test_synced_bytes_survive_and_unsynced_ones_are_old_or_new(
    seed: int, before: list[Write], after: list[Write]
) -> None:
    with Simulation(seed) as sim:

        async def main() -> bytes:
            disk = sim.node("a").disk
            file = disk.open("d/log", create=True)
            for position, data in before:
                file.write_at(position, data)
            await file.sync()
            await disk.sync_directory("d")
            for position, data in after:
                file.write_at(position, data)
            sim.kill("a", "power")
            file = sim.restart("a").disk.open("d/log")
            return file.read_at(0, file.length())

        found, old = sim.run(main), bytearray()
        apply(old, before)
        versions = [bytes(old)]
        for count in range(1, len(after) + 1):
            new = bytearray(old)
            apply(new, after[:count])
            versions.append(bytes(new))
        assert len(found) in {len(version) for version in versions}
        allowed = [version.ljust(30_000, b"\0") for version in versions]
        for sector in range(0, len(found), 512):
            piece = found[sector : sector + 512]
            assert any(piece == version[sector : sector + len(piece)] for version in allowed), (
                f"sector at {sector} is neither synced nor written"
            )


def test_unsynced_pages_are_lost_in_any_order_and_sometimes_torn() -> None:
    kinds: set[str] = set()
    for seed in range(200):
        with Simulation(seed) as sim:

            async def main(sim: Simulation = sim) -> bytes:
                file = sim.node("a").disk.open("log", create=True)
                file.set_length(8192)
                await file.sync()
                await sim.node("a").disk.sync_directory("")
                file.write_at(0, b"1" * 4096)
                file.write_at(4096, b"2" * 4096)
                sim.kill("a", "power")
                return sim.restart("a").disk.open("log").read_at(0, 8192)

            found = sim.run(main)
        pages = [set(found[:4096]), set(found[4096:])]
        if any(len(page) == 2 for page in pages):
            kinds.add("torn")
        else:
            kinds.add("".join("x" if 0 not in page else "-" for page in pages))
    assert kinds == {"torn", "xx", "--", "x-", "-x"}


@given(seed=st.integers(0, 10_000), synced=st.integers(0, 5))
def test_names_survive_as_a_prefix_and_synced_ones_always(seed: int, synced: int) -> None:
    with Simulation(seed) as sim:

        async def main() -> list[str]:
            disk = sim.node("a").disk
            for number in range(6):
                disk.open(f"d/{number}", create=True)
                if number + 1 == synced:
                    await disk.sync_directory("d")
            sim.kill("a", "power")
            return sim.restart("a").disk.list("d")

        found = sim.run(main)
        assert found == ["0", "1", "2", "3", "4", "5"][: len(found)]
        assert len(found) >= synced


def test_a_rename_is_lost_or_whole_and_a_synced_one_stays() -> None:
    found: set[tuple[str, ...]] = set()
    for seed in range(60):
        with Simulation(seed) as sim:

            async def main(sim: Simulation = sim) -> tuple[str, ...]:
                disk = sim.node("a").disk
                for path in ("a/old", "b/other"):
                    disk.open(path, create=True)
                    await disk.sync_directory(path[0])
                disk.replace("a/old", "b/new")
                disk.remove("b/other")
                if sim.seed % 2:
                    await disk.sync_directory("b")
                sim.kill("a", "power")
                disk = sim.restart("a").disk
                return ("synced" if sim.seed % 2 else "", *disk.list("a"), "|", *disk.list("b"))

            found.add(sim.run(main))
    unsynced = {("", "|", "new"), ("", "|", "new", "other"), ("", "old", "|", "other")}
    assert found == {("synced", "|", "new"), *unsynced}


def test_syncing_one_directory_does_not_save_another() -> None:
    survived: set[bool] = set()
    for seed in range(60):
        with Simulation(seed) as sim:

            async def main(sim: Simulation = sim) -> bool:
                disk = sim.node("a").disk
                disk.open("elsewhere/file", create=True)
                disk.open("here/file", create=True)
                await disk.sync_directory("here")
                sim.kill("a", "power")
                disk = sim.restart("a").disk
                assert disk.exists("here/file")
                return disk.exists("elsewhere/file")

            survived.add(sim.run(main))
    assert survived == {True, False}


def test_a_sync_covers_what_was_written_before_it_and_nothing_after() -> None:
    lost = 0
    for seed in range(30):
        with Simulation(seed) as sim:

            async def main(sim: Simulation = sim) -> bytes:
                disk = sim.node("a").disk
                file = disk.open("log", create=True)
                file.write_at(0, b"before")
                future = file.sync()
                file.write_at(4096, b"after")
                await future
                await disk.sync_directory("")
                sim.kill("a", "power")
                return sim.restart("a").disk.open("log").read_at(0, 10_000)

            found = sim.run(main)
            assert found[:6] == b"before"
            lost += b"after" not in found
    assert 0 < lost < 30


def test_a_sync_under_way_is_finished_after_the_death_of_its_process() -> None:
    with Simulation() as sim:

        async def main() -> bytes:
            disk = sim.node("a").disk
            file = disk.open("log", create=True)
            await disk.sync_directory("")
            file.write_at(0, b"data")
            file.sync()
            sim.kill("a")
            await asyncio.sleep(1)
            sim.kill("a", "power")
            return sim.restart("a").disk.open("log").read_at(0, 10)

        assert sim.run(main) == b"data"


def test_what_a_failed_sync_covered_is_not_saved_by_the_next_one() -> None:
    lost = 0
    for seed in range(30):
        with Simulation(seed) as sim:

            async def main(sim: Simulation = sim) -> bytes:
                sim.wrap_disk("a", lambda node, disk: FailingDisk(node, disk, "sync", nth=2))
                disk = sim.node("a").disk
                file = disk.open("log", create=True)
                file.set_length(4)
                await file.sync()
                await disk.sync_directory("")
                file.write_at(0, b"data")
                with pytest.raises(OSError):
                    await file.sync()
                await file.sync()
                sim.kill("a", "power")
                return sim.restart("a").disk.open("log").read_at(0, 10)

            lost += sim.run(main) != b"data"
    assert lost > 0, "the data was safe after a failed sync: a store that tries again would never be caught"


def test_syncs_stand_in_line_and_a_fault_stays_on_the_disk_for_the_next_life() -> None:
    with Simulation() as sim:
        sim.node("a").machine.platter.sync_ms = 10

        async def three_syncs() -> float:
            file = sim.node("a").disk.open("log", create=True)
            began_s = sim.loop.time()
            await asyncio.gather(*[file.sync() for _ in range(3)])
            return round((sim.loop.time() - began_s) * 1000, 6)

        assert sim.run(three_syncs) == 30.0
        sim.wrap_disk("a", lambda node, disk: SlowDisk(node, disk, extra_ms=100))
        assert sim.run(three_syncs) == 130.0
        sim.kill("a")
        sim.restart("a")
        assert sim.run(three_syncs) == 130.0


def test_a_sync_that_the_power_cut_short_is_not_finished_later() -> None:
    with Simulation() as sim:

        async def main() -> None:
            file = sim.node("a").disk.open("log", create=True)
            file.write_at(0, b"data")
            file.sync()
            sim.kill("a", "power")
            await asyncio.sleep(1)

        sim.run(main)
        assert "synced" not in [event.kind for event in sim.events]


def survivors(seed: int, script: Callable[[Disk], Coroutine[Any, Any, None]]) -> Disk:
    """The disk as the next life finds it, when the power goes right after `script`."""
    sim = Simulation(seed)
    sim.run(script(sim.node("a").disk))
    sim.kill("a", "power")
    return sim.restart("a").disk


@pytest.mark.parametrize("seed", range(10))
def test_syncing_a_directory_saves_what_happened_above_it_too(seed: int) -> None:
    async def script(disk: Disk) -> None:
        disk.open("a/b/file", create=True)
        await disk.sync_directory("a/b")
        disk.open("top", create=True)
        await disk.sync_directory("a/b")

    assert survivors(seed, script).list("") == ["a", "top"]


@pytest.mark.parametrize("seed", range(10))
def test_a_synced_move_between_directories_never_leaves_the_file_in_both(seed: int) -> None:
    async def script(disk: Disk) -> None:
        disk.open("d/other", create=True)
        disk.open("e/f/file", create=True)
        disk.replace("e/f/file", "d/file")
        await disk.sync_directory("d")

    disk = survivors(seed, script)
    assert disk.list("d") == ["file", "other"]
    assert disk.list("e/f") == []
