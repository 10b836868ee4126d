"""Crashes at Disk calls: every restart keeps what was promised, and the judge notices when one does not.

The full enumeration is `python -m tests.crash`; here each row of its table is run at a fixed stride. Then
known mistakes are planted in the broker, and the same enumeration must find each of them.
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest

import mq.commitlog.store as store_module
from mq.commitlog.flush import GroupCommit
from mq.commitlog.housekeeping import Housekeeping
from mq.commitlog.segments import Segments
from mq.commitlog.store import MessageStore
from mq.routing.topics import TopicConfigs
from mq.runtime.config import ConfigManager
from mq.sim.crashes import CrashPoint
from mq.sim.disk import SimDisk
from mq.sim.simulation import Simulation
from tests.crash import Job, Outcome, jobs_for, main, points, report, run_job
from tests.crash_judge import Case
from tests.crash_scenario import BROKER, POLICIES, Story

SEEDS = range(1, 13)  # tried in turn, until a planted mistake is found
STRIDE = {("process", False): 40, ("power", False): 60, ("process", True): 160, ("power", True): 240}


def first_failure(jobs: Iterable[Job]) -> Outcome | None:
    """The enumeration, up to the first restart that is wrong."""
    return next((outcome for outcome in map(run_job, jobs) if outcome.failure), None)


def all_right(jobs: list[Job]) -> list[Outcome]:
    outcomes = [run_job(job) for job in jobs]
    wrong = [report(outcome) for outcome in outcomes if outcome.failure]
    assert not wrong, "\n".join(wrong)
    return outcomes


# ---------------------------------------------------------------- the story and its crashes


@pytest.mark.parametrize("policy", POLICIES)
def test_the_story_rolls_every_kind_of_file(policy: str) -> None:
    story = Story(policy)
    with Simulation(1) as simulation:
        story.play(simulation)
        assert len(story.history.acknowledged()) == len(story.history.sent) == 60
        disk = simulation.node(BROKER).disk
        assert len(disk.list("commitlog")) >= 4
        assert len(disk.list("consumequeue/flights/0")) >= 2
        assert len(disk.list("index")) >= 3
        assert disk.list("consumequeue") == ["boards", "cancelled", "flights", "gates"]
        assert 300 <= len(simulation.node(BROKER).machine.platter.changing_calls) <= 500


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("death", "twice"), STRIDE)
def test_after_a_crash_at_any_disk_call_every_promise_is_kept(policy: str, death: str, twice: bool) -> None:
    seeds = (1, 2) if death == "power" else (1,)
    outcomes = all_right(jobs_for(policy, death, seeds, STRIDE[death, twice], twice))
    assert sum(outcome.acknowledged for outcome in outcomes) > 10 * len(outcomes)
    if policy == "SYNC_FLUSH" or death == "process":
        assert not any(outcome.missing for outcome in outcomes)
    if twice:
        assert any(outcome.second_fired for outcome in outcomes), "no restart was interrupted"


def test_asynchronous_flush_loses_acknowledged_messages_with_the_power() -> None:
    """The judge is not blind to losses: it allows these, and counts them."""
    outcomes = [run_job(job) for job in jobs_for("ASYNC_FLUSH", "power", (1,), 1)[40:120:16]]
    assert not [outcome.failure for outcome in outcomes if outcome.failure]
    assert sum(outcome.missing for outcome in outcomes) > 0


def test_the_same_point_gives_the_same_run() -> None:
    point = points("SYNC_FLUSH", "power", 3)[301]
    digests = []
    for _ in range(2):
        case = Case("SYNC_FLUSH", "power")
        with Simulation(point.seed) as simulation:
            simulation.crash_at(BROKER, point.call, point.when, point.death)
            with pytest.raises(Exception, match=r"time is up|died|closed|NodeDied"):
                case.play(simulation)
            simulation.restart(BROKER)
            case.judge(simulation)
            digests.append(simulation.digest())
    assert digests[0] == digests[1]


# ---------------------------------------------------------------- the command


def test_a_failure_prints_its_scenario_and_the_command_that_replays_it() -> None:
    job = Job("SYNC_FLUSH", 117, CrashPoint(BROKER, 88, "after", "power", 3), 5)
    said = report(Outcome(job, 7, 1, 0, True, "power death after sync x: lost: message 3"))
    assert said.splitlines() == [
        "  power death after sync x: lost: message 3",
        "    SYNC_FLUSH crash node=broker call=88 when=after death=power seed=3",
        "    python -m tests.crash --policy SYNC_FLUSH --death power --point 117 --seed 3 --second 5",
    ]


def test_the_command_replays_one_point_and_its_status_says_how_it_went(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--policy", "SYNC_FLUSH", "--death", "power", "--seed", "2", "--point"]
    assert main([*line, "60"]) == 0
    assert "none" not in capsys.readouterr().out
    assert main([*line, "100000"]) == 2
    plant_no_sync_before_the_acknowledgement(monkeypatch)
    failed = first_failure(jobs_for("SYNC_FLUSH", "power", (2,), 1)[20::5])
    assert failed is not None
    capsys.readouterr()
    assert main([*line, str(failed.job.number)]) == 1
    assert f"--point {failed.job.number} --seed 2" in capsys.readouterr().out


# ---------------------------------------------------------------- planted mistakes


def plant_acknowledgement_before_the_write(patch: pytest.MonkeyPatch) -> None:
    write_out = MessageStore.write_out

    def early(store: MessageStore) -> None:
        for place, (result, done) in enumerate(store._waiting):
            done(result)
            store._waiting[place] = result, lambda _: None
        store.node.call_later(1, lambda: write_out(store))

    patch.setattr(MessageStore, "write_out", early)


def plant_no_sync_before_the_acknowledgement(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(GroupCommit, "acknowledge", lambda commit, result: None)


def plant_dispatch_from_the_maximum(patch: pytest.MonkeyPatch) -> None:
    def wrong(*values: Any, default: int | None = None) -> Any:
        return min(*values) if default is None else max(*values, default=default)

    patch.setattr(store_module, "min", wrong, raising=False)


def plant_no_sync_of_the_directory_of_abort(patch: pytest.MonkeyPatch) -> None:
    sync_directory = SimDisk.sync_directory

    def lazy(disk: SimDisk, directory: str) -> "asyncio.Future[None]":
        if directory:
            return sync_directory(disk, directory)
        return disk.platter.queue_sync(lambda: None, directory)  # takes its time, and does nothing

    patch.setattr(SimDisk, "sync_directory", lazy)


def plant_no_cut_of_the_stale_tail(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Segments, "cut", lambda segments, position: None)


def plant_checkpoint_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    flush = Housekeeping.flush

    async def eager(house: Housekeeping, thorough: bool) -> bool:
        if thorough:
            now_ms = house.flusher.log.last_store_timestamp_ms
            house.checkpoint.times = {"physic": now_ms, "logics": now_ms, "index": now_ms}
            await house.checkpoint.write()
        return await flush(house, thorough)

    patch.setattr(Housekeeping, "flush", eager)


def plant_topics_written_later(patch: pytest.MonkeyPatch) -> None:
    never = property(lambda topics: None, lambda topics, task: None)
    patch.setattr(TopicConfigs, "writing", never, raising=False)


def plant_tables_written_in_place(patch: pytest.MonkeyPatch) -> None:
    async def write(manager: ConfigManager) -> None:
        manager._dirty = False
        file = manager.node.disk.open(manager.path, create=True)
        file.set_length(0)
        file.write_at(0, manager.encode().encode())
        file.close()
        await manager.node.disk.sync_directory("config")

    patch.setattr(ConfigManager, "_write", write)


@dataclass(frozen=True)
class Planted:
    """A mistake, where the enumeration looks for it, and what it must say."""

    plant: Callable[[pytest.MonkeyPatch], None]
    policy: str
    death: str
    sentence: str  # a pattern
    part: str = "morning"  # of the story: points outside it are left out, to save time
    stride: int = 4

    def __str__(self) -> str:
        return self.plant.__name__.removeprefix("plant_")

    def jobs(self, seed: int) -> list[Job]:
        """The points of its part."""
        story = Story(self.policy)
        with Simulation(seed) as simulation:
            story.play(simulation)
        begin = 2 * story.marks[self.part]
        end = min([2 * mark for mark in story.marks.values() if 2 * mark > begin], default=1 << 30)
        return jobs_for(self.policy, self.death, (seed,))[begin : end : self.stride]


PLANTED = [
    Planted(plant_acknowledgement_before_the_write, "ASYNC_FLUSH", "process", "lost: message"),
    Planted(plant_no_sync_before_the_acknowledgement, "SYNC_FLUSH", "power", "lost: message"),
    Planted(plant_dispatch_from_the_maximum, "ASYNC_FLUSH", "process", "skipped: "),
    Planted(
        plant_no_sync_of_the_directory_of_abort,
        "SYNC_FLUSH",
        "power",
        "skipped: queue|segments here have 8192",  # what looks like a clean end is not looked at closely
        "short session",
        12,
    ),
    Planted(
        plant_no_cut_of_the_stale_tail, "ASYNC_FLUSH", "power", "resurrected: the stale tail was not cut"
    ),
    Planted(plant_checkpoint_before_the_sync, "SYNC_FLUSH", "power", "the index lacks"),
    Planted(plant_topics_written_later, "ASYNC_FLUSH", "process", "but its topic is unknown"),
    Planted(plant_tables_written_in_place, "SYNC_FLUSH", "power", "config/topics.json cannot be read"),
]


@pytest.mark.parametrize("planted", PLANTED, ids=str)
def test_a_planted_mistake_is_found_and_called_by_its_name(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = None
    for seed in SEEDS:
        jobs = planted.jobs(seed)
        with monkeypatch.context() as patch:
            planted.plant(patch)
            failed = first_failure(jobs)
        if failed is not None:
            break
    assert failed is not None, (
        f"every restart of {len(SEEDS)} seeds was called right with the mistake in place"
    )
    assert re.search(planted.sentence, failed.failure), failed.failure


# ---------------------------------------------------------------- a clock that is set back

HOUR_BACK_MS = -3_600_000


def test_a_clock_that_is_set_back_hides_nothing_from_recovery() -> None:
    """Recovery begins at a segment by its store time; see MessageStore._stamp_ms."""
    every = all_right(jobs_for("SYNC_FLUSH", "power", (1,), 40, jump_ms=HOUR_BACK_MS))
    assert not any(outcome.missing for outcome in every)


def test_stamps_that_follow_the_clock_back_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MessageStore, "_stamp_ms", lambda store: store.node.wall_ms())
    wrong = first_failure(jobs_for("SYNC_FLUSH", "power", (1,), 4, jump_ms=HOUR_BACK_MS))
    assert wrong is not None, "no restart was wrong although new records look older than the checkpoint"
    assert "diverged" in (wrong.failure or ""), wrong.failure
