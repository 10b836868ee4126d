"""The simulator: order of calls, lives and deaths, and one seed, one journal."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mq.runtime.journal import digest
from mq.sim import scenarios, simulation
from mq.sim.life import LIFE, Crashed, NodeDied
from mq.sim.loop import Deadlock, Spin
from mq.sim.scenarios import SCENARIOS, run_scenario
from mq.sim.simulation import Simulation, golden_text
from mq.sim.stories import STORIES

ROOT = Path(__file__).resolve().parent.parent


# ---------------------------------------------------------------- the loop


def test_calls_with_one_deadline_run_in_the_order_they_were_asked_for() -> None:
    with Simulation() as sim:
        ran: list[int] = []

        async def main() -> None:
            for number in range(50):
                sim.loop.call_at(1.0, ran.append, number)
            await asyncio.sleep(1.0)
            sim.loop.call_soon(ran.append, 50)
            await asyncio.sleep(0)

        sim.run(main)
        assert ran == list(range(51))


def test_the_clock_moves_exactly_to_the_next_deadline_and_starts_in_january_2013() -> None:
    with Simulation() as sim:
        node = sim.node("a")

        async def main() -> list[float]:
            times = [sim.loop.time()]
            await asyncio.sleep(0.25)
            times.append(sim.loop.time())
            await node.sleep_ms(86_400_000)
            return [*times, sim.loop.time(), node.wall_ms(), node.monotonic_ms()]

        assert sim.run(main) == [0.0, 0.25, 86_400.25, 1_357_016_400_000 + 86_400_250, 86_400_250.0]


def test_what_asyncio_offers_to_a_floor_works_in_virtual_time() -> None:
    with Simulation() as sim:

        async def main() -> tuple[list[int], int, bool]:
            queue: asyncio.Queue[int] = asyncio.Queue()
            lock, event = asyncio.Lock(), asyncio.Event()

            async def number(wanted: int) -> int:
                async with lock:
                    await asyncio.sleep(1)
                    queue.put_nowait(wanted)
                    event.set()
                    return wanted

            numbers = await asyncio.gather(*[number(n) for n in range(5)])
            await event.wait()
            try:
                async with asyncio.timeout(3):
                    await asyncio.Event().wait()
            except TimeoutError:
                return numbers, await queue.get(), sim.loop.time() == 8.0
            raise AssertionError("the timeout did not fire")

        assert sim.run(main) == ([0, 1, 2, 3, 4], 0, True)


def test_a_deadlock_names_the_task_that_waits_and_where() -> None:
    with Simulation() as sim:

        async def reads_for_ever() -> None:
            await asyncio.Event().wait()

        async def main() -> None:
            task = sim.node("a").spawn(reads_for_ever(), "reader of flights")
            await task

        with pytest.raises(Deadlock) as raised:
            sim.run(main)
        text = str(raised.value)
        assert "reader of flights on a at" in text
        assert "reads_for_ever (test_sim.py:" in text
        assert "Event.wait" in text
        assert "main on driver" in text
        assert sim.run(asyncio.sleep(1, "and the world goes on")) == "and the world goes on"


def test_a_deadlock_tells_what_had_failed_before() -> None:
    with Simulation() as sim:

        async def fails() -> None:
            raise ValueError("bad frame")

        async def main() -> None:
            sim.node("a").spawn(fails(), "parser")
            await asyncio.Event().wait()

        with pytest.raises(Deadlock, match="task parser on a: ValueError: bad frame"):
            sim.run(main)
        assert [event.kind for event in sim.events] == ["task failed"]


def test_a_run_that_passes_its_virtual_time_is_a_timeout_that_names_who_waits() -> None:
    with Simulation() as sim:

        async def ticks() -> None:
            while True:
                await asyncio.sleep(30)

        with pytest.raises(TimeoutError, match=r"main on driver at .*ticks"):
            sim.run(ticks, timeout_s=100)
        assert sim.loop.time() == 100.0


def test_a_spin_is_an_error_and_not_a_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mq.sim.loop.MAX_STEPS_AT_ONE_INSTANT", 1_000)

    async def spins() -> None:
        while True:
            await asyncio.sleep(0)

    async def ticks() -> None:
        while True:
            await asyncio.sleep(1)

    with Simulation() as sim, pytest.raises(Spin, match="MAX_STEPS_AT_ONE_INSTANT"):
        sim.run(spins)
    with Simulation() as sim, pytest.raises(Spin, match="max_steps=500"):
        sim.loop.max_steps = 500
        sim.run(ticks)


def test_a_callback_that_raises_is_written_down_and_the_loop_goes_on() -> None:
    with Simulation() as sim:

        def fails() -> None:
            raise KeyError("route")

        async def main() -> None:
            sim.node("a").call_later(5, fails)
            await asyncio.sleep(1)

        sim.run(main)
        assert [(node, type(error)) for node, _, error in sim.failures] == [("a", KeyError)]


def test_a_simulation_runs_inside_a_loop_that_is_running() -> None:
    async def outer() -> tuple[str, bool]:
        with Simulation() as sim:
            result = sim.run(asyncio.sleep(1000, "inside"))
        await asyncio.sleep(0)
        return result, asyncio.current_task() is not None

    assert asyncio.run(outer()) == ("inside", True)


# ---------------------------------------------------------------- lives


def test_the_finally_of_a_killed_node_writes_nothing_then_or_at_the_end() -> None:
    sim = Simulation()
    node = sim.node("a")

    async def holds() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            node.disk.open("from the grave", create=True)

    async def main() -> None:
        node.spawn(holds(), "holder")
        await asyncio.sleep(1)
        sim.kill("a")
        await asyncio.sleep(1)

    sim.run(main)
    assert [task.get_name() for task in sim.loop.graveyard()] == ["holder"]
    platter, events = node.machine.platter, list(sim.events)
    sim.close()
    assert platter.find("from the grave") is None
    assert sim.events == events


def test_an_end_with_living_tasks_writes_nothing_either() -> None:
    with Simulation() as sim:
        node = sim.node("a")

        async def holds() -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                node.disk.open("late", create=True)

        node.spawn(holds(), "holder")
        sim.run(asyncio.sleep(1))
    assert node.machine.platter.find("late") is None


def test_no_timer_callback_or_task_of_a_dead_node_runs() -> None:
    with Simulation() as sim:
        node, ran = sim.node("a"), []

        async def ticks() -> None:
            while True:
                ran.append("task")
                await asyncio.sleep(1)

        async def main() -> None:
            node.call_later(1500, lambda: ran.append("timer"))
            node.spawn(ticks(), "ticker")
            await asyncio.sleep(1.2)
            node.call_soon(lambda: ran.append("call"))
            sim.kill("a")
            node.journal.record("spoken by the dead")
            await asyncio.sleep(10)

        sim.run(main)
        assert ran == ["task", "task"]
        assert "spoken by the dead" not in golden_text(sim.events)


def test_what_the_driver_starts_through_a_node_dies_with_the_node() -> None:
    with Simulation() as sim:
        lives: list[str] = []

        async def inner() -> None:
            asyncio.get_running_loop().call_later(1, lambda: lives.append(LIFE.get().node))
            await asyncio.sleep(2)

        async def main() -> None:
            await sim.on("a", inner())
            await sim.on(sim.node("b"), inner())

        sim.node("a")
        sim.run(main)
        assert lives == ["a", "b"]


def test_waiting_for_a_node_that_dies_raises_node_died() -> None:
    with Simulation() as sim:
        sim.node("a")

        async def main() -> str:
            sim.at(500, lambda: sim.kill("a"))
            try:
                await sim.on("a", asyncio.sleep(10), "start")
            except NodeDied as error:
                return str(error)
            return "came back"

        assert sim.run(main) == "a died (life 1) while the driver waited for 'start'"


def test_what_runs_on_a_node_gives_its_result_or_its_error_to_the_driver() -> None:
    with Simulation() as sim:
        sim.node("a")

        async def fails() -> None:
            raise ValueError("no")

        async def main() -> str:
            with pytest.raises(ValueError, match="no"):
                await sim.on("a", fails())
            return await sim.on("a", asyncio.sleep(1, "done"))

        assert sim.run(main) == "done"
        assert sim.failures == []


def test_every_door_of_a_dead_node_is_shut() -> None:
    with Simulation() as sim:
        node = sim.node("a")
        file = node.disk.open("log", create=True)
        sim.kill("a")
        doors: list[Callable[[], object]] = [
            lambda: node.disk.open("log"),
            lambda: file.write_at(0, b"x"),
            lambda: file.sync(),
            file.close,
            lambda: node.call_later(1, print),
            lambda: node.spawn(asyncio.sleep(1), "t"),
            node.wall_ms,
            lambda: sim.network.listen(node.life, "10.0.0.1", 1, asyncio.Protocol),
        ]
        for door in doors:
            with pytest.raises(Crashed):
                door()


def test_a_new_life_has_the_same_disk_and_its_locks_are_free() -> None:
    with Simulation() as sim:
        old = sim.node("a")
        old.disk.lock("lock")
        old.disk.open("log", create=True).write_at(0, b"never synced")
        sim.kill("a")
        with pytest.raises(ValueError, match="alive"):
            sim.restart("a")
            sim.restart("a")
        new = sim.node("a")
        assert new is not old
        new.disk.lock("lock")
        assert new.disk.open("log").read_at(0, 100) == b"never synced", "a process's death takes no write"


def test_a_clock_jump_moves_the_wall_and_not_the_monotonic_clock() -> None:
    with Simulation() as sim:
        node = sim.node("a")
        before = node.wall_ms(), node.monotonic_ms()
        sim.jump_clock("a", -3_600_000)
        assert (node.wall_ms(), node.monotonic_ms()) == (before[0] - 3_600_000, before[1])


# ---------------------------------------------------------------- one seed, one journal


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_gives_the_same_digest_each_time_and_another_for_another_seed(name: str) -> None:
    first = run_scenario(name, 1)
    assert first.digest() == run_scenario(name, 1).digest()
    assert first.digest() != run_scenario(name, 2).digest()
    assert first.digest() == digest(first.events)
    assert first.failures == []


@pytest.mark.parametrize("seed", range(10))
def test_the_scenarios_hold_for_many_seeds(seed: int) -> None:
    for name in SCENARIOS:
        if name not in STORIES:  # those of the lab have sweeps of their own
            run_scenario(name, seed)


def test_the_digest_does_not_depend_on_the_hash_seed() -> None:
    code = "from mq.sim.scenarios import *; print([run_scenario(name, 5).digest() for name in SCENARIOS])"
    answers = set()
    for hash_seed in "012":
        env = {**os.environ, "PYTHONHASHSEED": hash_seed}
        run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        answers.add(run.stdout)
    assert answers == {f"{[run_scenario(name, 5).digest() for name in SCENARIOS]}\n"}


def test_the_digest_covers_events_that_are_no_longer_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_scenario("ledger_killed", 1)
    monkeypatch.setattr(simulation, "MAX_EVENTS_KEPT", 20)
    bounded = run_scenario("ledger_killed", 1)
    assert len(bounded.events) <= 20 < len(whole.events)
    assert bounded.digest() == whole.digest()


def test_each_purpose_has_random_numbers_of_its_own() -> None:
    with Simulation(9) as one, Simulation(10) as other:
        nodes = [one.node("a"), one.node("b"), other.node("a")]
        one.kill("a")
        nodes.append(one.restart("a"))
        assert len({node.random.random() for node in nodes}) == 4


def test_a_draw_for_one_purpose_moves_no_other() -> None:
    def draws(disturb: bool) -> list[float]:
        with Simulation(9) as sim:
            a, b = sim.node("a"), sim.node("b")
            if disturb:
                a.random.random()
                sim.node("c")
                sim.kill("a", "power")
            return [b.random.random(), sim.network.link("10.0.0.1", "10.0.0.2").latency_s]

    assert draws(False) == draws(True)


def test_the_golden_text_shows_the_wanted_kinds() -> None:
    sim = run_scenario("ledger_without_power", 1)
    text = golden_text(sim.events, {"killed", "power lost", "started"})
    assert [line.split()[2] for line in text.splitlines()] == ["killed", "power", "started"]


def test_the_table_of_scenarios_is_what_runs() -> None:
    assert list(scenarios.TABLE) == SCENARIOS
    with pytest.raises(KeyError):
        run_scenario("no such storm", 1)
