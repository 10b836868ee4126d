"""Both layouts of the experiment hold the same messages; what a force costs is counted, not said."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from chapters.ch03_consumequeue.layout import (
    FORCE_EVERY,
    LAYOUTS,
    CountedDisk,
    Figures,
    PartitionLogs,
    Run,
    Standing,
    experiment,
    network_reads,
    verdicts,
)

QUEUES, MESSAGES = 8, 1_000


def contents(layout: str, folder: Path) -> list[list[tuple[int, int, bytes]]]:
    """(queue id, queue offset, body) of each message, queue by queue, after everything was written."""
    disk = CountedDisk(str(folder))
    made = LAYOUTS[layout](disk, QUEUES)
    for read in network_reads(MESSAGES, QUEUES):
        made.put(read)
    made.settle()
    found = [
        [(each.queue_id, each.queue_offset, each.body) for each in made.messages(queue_id)]
        for queue_id in range(QUEUES)
    ]
    made.close()
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_holds_every_message_in_its_queues_order(layout: str, tmp_path: Path) -> None:
    sent = [message for read in network_reads(MESSAGES, QUEUES) for message in read]
    for queue_id, held in enumerate(contents(layout, tmp_path)):
        bodies = [body for of, body in sent if of == queue_id]
        assert held == [(queue_id, number, body) for number, body in enumerate(bodies)]


def test_a_record_of_a_partition_log_says_where_it_lies_in_it(tmp_path: Path) -> None:
    logs = PartitionLogs(CountedDisk(str(tmp_path)), QUEUES)
    for read in network_reads(MESSAGES, QUEUES):
        logs.put(read)
    held = logs.messages(3)
    assert [each.physical_offset for each in held] == [number * held[0].size for number in range(len(held))]
    logs.close()


def ran(layout: str, queues: int, messages: int, folder: Path, is_forced: bool = True, runs: int = 1) -> Run:
    """The last of some runs on the same files."""

    async def work() -> Run:
        standing, found = Standing(layout, queues, str(folder)), []
        for _ in range(runs):
            found.append(await standing.run(network_reads(messages, queues), is_forced))
        standing.close()
        return found[-1]

    return asyncio.run(work())


@pytest.mark.parametrize(
    ("layout", "syncs"),
    [("logs", QUEUES), ("one", 1), ("one_and_queues", 1 + QUEUES)],
)
def test_a_force_syncs_every_partition_log_or_one_log_alone(layout: str, syncs: int, tmp_path: Path) -> None:
    assert ran(layout, QUEUES, 2 * FORCE_EVERY, tmp_path).syncs_per_force == syncs
    assert ran(layout, QUEUES, 2 * FORCE_EVERY, tmp_path / "again", runs=3).syncs_per_force == syncs


def test_a_force_syncs_only_the_logs_that_were_written(tmp_path: Path) -> None:
    assert ran("logs", FORCE_EVERY + 24, FORCE_EVERY, tmp_path).syncs_per_force == FORCE_EVERY


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_run_finds_one_message_in_each_queue_and_none_of_the_run_before(
    layout: str, tmp_path: Path
) -> None:
    made = LAYOUTS[layout](CountedDisk(str(tmp_path)), QUEUES)
    made.put([(queue_id, bytes(1_024)) for queue_id in range(QUEUES)])
    for _ in range(2):
        for read in network_reads(MESSAGES, QUEUES):
            made.put(read)
        assert len(made.messages(3)) == 1 + MESSAGES // QUEUES
        made.shorten()
        left = [[each.body for each in made.messages(queue_id)] for queue_id in range(QUEUES)]
        assert left == [[bytes(1_024)]] * QUEUES
        lengths = [path.stat().st_size for path in tmp_path.glob("partitions/*")]
        assert all(length < 2 * 1_024 for length in lengths), "the rest of a log is gone, not only forgotten"
    made.close()


def test_what_is_kept_is_measured_against_the_fewest_queues_of_the_same_round() -> None:
    found = experiment({"logs": 200, "one": 400}, (1, 4), False, rounds=1)
    assert set(found) == {("logs", 1), ("logs", 4), ("one", 1), ("one", 4)}
    for layout in ("logs", "one"):
        one, four = found[layout, 1], found[layout, 4]
        assert one.kept == 1.0 and one.syncs_per_force == 0
        assert four.kept == pytest.approx(four.records_per_s / one.records_per_s)


def table(
    kept: Mapping[tuple[str, int], float | Sequence[float]], syncs: float = 0.0
) -> dict[tuple[str, int], Figures]:
    """Figures that were made up: one round, or as many as there are shares."""
    rounds = {turn: (share,) if isinstance(share, float) else tuple(share) for turn, share in kept.items()}
    return {turn: Figures(100_000 * shares[0], shares, syncs) for turn, shares in rounds.items()}


def judged(logs_at_256: float, logs_at_most: float, forced_logs: float, forced_one: float) -> list[str]:
    """The three sentences, for rates of which this is kept."""
    cached = table({("logs", 64): 1.0, ("logs", 256): logs_at_256, ("logs", 4_096): logs_at_most})
    cached |= table({("one", 4_096): 0.9})
    forced = table({("logs", 1): 1.0, ("logs", 64): 0.5, ("logs", 1_024): forced_logs}, 1_000)
    forced |= table({("one", 1_024): forced_one}, 1)
    return verdicts(cached, forced)


def test_the_verdicts_follow_the_figures() -> None:
    steady, slower, past_64 = judged(0.9, 0.85, 0.1, 0.9)
    assert "many queues: yes in 1 of 1 rounds when it is forced" in steady
    assert "with many: yes in 1 of 1 rounds when they are forced" in slower
    assert "9.0 times as fast; no in 1 of 1 rounds in the page" in slower
    assert "1,000 syncs stand against 1" in slower and "is not what makes a difference" in slower
    assert "past 64 partitions: no" in past_64
    steady, slower, past_64 = judged(0.5, 0.3, 0.9, 0.3)
    assert "many queues: no in 1 of 1 rounds when it is forced" in steady
    assert "with many: no in 1 of 1 rounds when they are forced" in slower
    assert "yes in 1 of 1 rounds in the page cache alone" in slower
    assert "costs more than an array for each" in slower
    assert "past 64 partitions: yes" in past_64


def test_a_verdict_says_how_many_rounds_say_so() -> None:
    forced = table({("logs", 1): 1.0, ("logs", 64): 0.5, ("logs", 1_024): 0.1, ("one", 1_024): 1.0})
    cached = table(
        {
            ("logs", 64): (1.0, 0.9, 1.0), ("logs", 256): (0.9, 0.5, 0.6),
            ("logs", 4_096): (0.9, 0.5, 0.9), ("one", 4_096): (0.82, 0.79, 0.81),
        }
    )  # fmt: skip
    steady, slower, past_64 = verdicts(cached, forced)
    assert "yes in 2 of 3 rounds in the page cache alone, 0.81 with 4,096" in steady
    assert "no in 2 of 3 rounds in the page cache alone, 0.90 with 4,096" in slower
    assert "yes in 2 of 3 rounds in the page cache alone, where they keep 0.60" in past_64
