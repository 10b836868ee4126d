"""Crash points: every Disk call, before and after; deliberate mistakes are found and replayed."""

from collections.abc import Callable

import pytest

from mq.runtime.config import ConfigManager
from mq.runtime.node import Node
from mq.sim.crashes import CrashFailure, CrashPoint, count_disk_calls, enumerate_crashes, replay, spread
from mq.sim.life import NodeDied
from mq.sim.scenarios import Frames, Ledger, check_ledger, start_ledger
from mq.sim.simulation import Simulation


def ledger(entries: int = 4) -> tuple[Callable[[Simulation], None], Callable[[Simulation], None]]:
    """A scenario and its check, which share what the writers were told."""
    told: list[bytes] = []

    def scenario(sim: Simulation) -> None:
        acknowledged, run = start_ledger(sim, entries)
        told.clear()
        try:
            run()
        finally:
            told.extend(acknowledged)

    return scenario, lambda sim: check_ledger(sim, told)


@pytest.mark.parametrize("death", ["process", "power"])
def test_a_ledger_that_syncs_before_it_answers_survives_every_crash_point(death: str) -> None:
    scenario, check = ledger()
    calls = count_disk_calls(scenario, "store")
    report = enumerate_crashes(scenario, check, "store", death)
    assert report.points == 2 * calls + 1
    assert report.fired == 2 * calls


async def _answer_before_the_sync(self: Ledger) -> None:
    while True:
        await self._wake.wait()
        self._wake.clear()
        synced, self._waiting = self._waiting, []
        for peer, entry in synced:
            peer.send(entry)
        await self._file.sync()


def test_an_answer_before_the_sync_is_found_and_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "_flush", _answer_before_the_sync)
    scenario, check = ledger()
    enumerate_crashes(scenario, check, "store", "process")
    where = r"power death before sync ledger/entries \(call \d+, seed 0\)"
    with pytest.raises(CrashFailure, match=where) as found:
        enumerate_crashes(scenario, check, "store", "power")
    line = str(found.value).partition("replay: ")[2]
    with pytest.raises(CrashFailure) as again:
        replay(scenario, check, line)
    assert str(again.value) == str(found.value)


def test_an_answer_before_the_write_is_found_by_a_process_death(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer_then_write(self: Ledger, peer: Frames, entry: bytes) -> None:
        peer.send(entry)
        self._file.write_at(self._end, len(entry).to_bytes(4, "big") + entry)
        self._end += 4 + len(entry)

    monkeypatch.setattr(Ledger, "_append", answer_then_write)
    with pytest.raises(CrashFailure, match=r"process death before write_at ledger/entries \[0:\d+\]"):
        enumerate_crashes(*ledger(), "store", "process")


def test_a_bounded_enumeration_is_spread_over_the_whole_scenario() -> None:
    every = [CrashPoint("a", call, "before", "power", 0) for call in range(1, 101)]
    assert [point.call for point in spread(every, 4)] == [1, 34, 67, 100]
    assert spread(every, None) == spread(every, 100) == every
    scenario, check = ledger()
    assert enumerate_crashes(scenario, check, "store", points=5).points == 5


def test_a_crash_point_is_read_back_from_its_line() -> None:
    point = CrashPoint("store", 12, "after", "power", 7)
    assert CrashPoint.parse(str(point)) == point
    with pytest.raises(ValueError, match="is not 'crash node="):
        CrashPoint.parse("crash store 12")


class Table(ConfigManager):
    path = "config/table.json"
    value = 0

    def encode(self) -> str:
        return str(self.value)

    def decode(self, text: str) -> None:
        self.value = int(text)


@pytest.mark.parametrize("seed", range(5))
def test_a_config_table_is_the_last_persisted_or_the_next_after_any_loss_of_power(seed: int) -> None:
    persisted = [0]

    async def grow(node: Node) -> None:
        table = Table(node)
        for value in range(1, 4):
            table.value = value
            await table.persist()
            persisted.append(value)

    def scenario(sim: Simulation) -> None:
        persisted[:] = [0]
        sim.run(sim.on(sim.node("a"), grow(sim.node("a"))))

    def check(sim: Simulation) -> None:
        table = Table(sim.node("a"))
        table.load()
        assert table.value in (persisted[-1], persisted[-1] + 1), f"{table.value} after {persisted}"

    enumerate_crashes(scenario, check, "a", "power", seed)


@pytest.mark.parametrize(("when", "found"), [("before", b""), ("after", b"data")])
def test_a_crash_before_a_write_takes_it_and_one_after_it_keeps_it(when: str, found: bytes) -> None:
    with Simulation() as sim:

        async def write(node: Node) -> None:
            node.disk.open("log", create=True).write_at(0, b"data")

        plan = sim.crash_at("a", call=2, when=when)
        with pytest.raises(NodeDied):
            sim.run(sim.on("a", write(sim.node("a"))))
        assert plan.what == "write_at log [0:4]"
        assert sim.restart("a").disk.open("log").read_at(0, 10) == found


def test_a_driver_that_uses_the_disk_itself_sees_the_crash_as_a_death() -> None:
    async def main(node: Node) -> None:
        node.disk.open("log", create=True)

    with Simulation() as sim:
        sim.crash_at("a", call=1)
        with pytest.raises(NodeDied, match="before open log"):
            sim.run(main(sim.node("a")))
