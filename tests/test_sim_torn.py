"""A torn page, forced: the power goes in the middle of a write, and recovery must see it and cut there."""

import pytest

from chapters.lab_journal import DARK, observe
from mq.sim.inode import SECTOR_BYTES
from mq.sim.lab import Outcome, run, shrink
from mq.sim.scenario import Scenario
from mq.sim.simulation import Simulation
from tests.broken_brokers import called

PAGE = 4096
CALLS = range(1, 17)


def torn(*writes: tuple[int, bytes], synced: bytes = bytes(2 * PAGE)) -> tuple[bytes, object]:
    """What a file of two pages holds after these writes and a torn death, and how many pages tore."""
    with Simulation(1) as sim:

        async def main() -> bytes:
            file = sim.node("a").disk.open("log", create=True)
            file.write_at(0, synced)
            await file.sync()
            await sim.node("a").disk.sync_directory("")
            for position, data in writes:
                file.write_at(position, data)
            sim.kill("a", "torn")
            return sim.restart("a").disk.open("log").read_at(0, 4 * PAGE)

        found = sim.run(main)
        (lost,) = [event for event in sim.events if event.kind == "power lost"]
        return found, dict(lost.fields)["pages_torn"]


def test_of_the_last_page_written_the_second_half_is_missing_and_all_else_is_there() -> None:
    found, pages = torn((0, b"1" * PAGE), (PAGE, b"2" * PAGE))
    assert found == b"1" * PAGE + b"2" * (PAGE // 2) + bytes(PAGE // 2)
    assert pages == 1


def test_what_tears_is_what_was_under_way_and_not_what_had_been_synced_on_the_same_page() -> None:
    synced = b"s" * (2 * PAGE)
    found, _ = torn((PAGE + 512, b"n" * 4 * SECTOR_BYTES), synced=synced)
    half = 2 * SECTOR_BYTES
    assert found == b"s" * (PAGE + 512) + b"n" * half + b"s" * (PAGE - 512 - half)


def test_a_sector_is_written_whole_or_not_at_all() -> None:
    found, pages = torn((PAGE, b"2" * SECTOR_BYTES))
    assert found == bytes(PAGE) + b"2" * SECTOR_BYTES + bytes(PAGE - SECTOR_BYTES) and pages == 0


def test_a_torn_file_has_grown_to_its_last_length_and_nothing_synced_is_hurt() -> None:
    found, pages = torn((2 * PAGE, b"3" * (PAGE + 1_024)), synced=b"s" * (2 * PAGE))
    assert found == b"s" * (2 * PAGE) + b"3" * (PAGE + SECTOR_BYTES) + bytes(SECTOR_BYTES) and pages == 1


def test_nothing_is_drawn_for_a_torn_death_so_every_seed_tears_alike() -> None:
    def after(seed: int) -> bytes:
        with Simulation(seed) as sim:
            file = sim.node("a").disk.open("d/log", create=True)
            file.write_at(0, b"x" * 9_000)
            sim.kill("a", "torn")
            return sim.restart("a").disk.open("d/log").read_at(0, 9_000)

    assert {after(seed) for seed in range(20)} == {b"x" * 8_704 + bytes(296)}


# ---------------------------------------------------------------- what a broker makes of it


def cuts(outcome: Outcome) -> list[str]:
    """Why recovery cut the log, each time."""
    cut = [dict(event.fields) for event in outcome.events if event.kind == "log cut"]
    return [str(fields["reason"]) for fields in cut]


def test_a_torn_record_is_cut_at_recovery_and_only_the_end_of_the_log_is_missing() -> None:
    outcome = run("lone-async seed=1 4000:kill=a/torn 5500:restart=a")
    assert not outcome.failed, outcome.report()
    (reason,) = cuts(outcome)
    assert "its size says" in reason, f"half a record had to be found, and not zeros: {reason}"
    assert all(sent.told_ms and 3_000 < sent.told_ms <= 4_000 for sent in outcome.history.missing())


def test_under_sync_flush_a_torn_record_is_cut_and_nothing_that_was_acknowledged_is_missing() -> None:
    outcome = run("lone-sync seed=2 3500:slow=a/400 4200:kill=a/torn 4500:mend=a 5500:restart=a")
    assert not outcome.failed, outcome.report()
    assert cuts(outcome), "nothing was torn: this proves nothing"
    assert outcome.history.missing() == [] and len(outcome.history.acknowledged()) > 200


def test_torn_at_each_disk_call_of_a_while_no_acknowledged_message_is_lost_under_sync_flush() -> None:
    outcomes = [run(f"lone-sync seed=2 4000:crash=a/torn/after/{call} 5500:restart=a") for call in CALLS]
    assert [str(outcome.scenario) for outcome in outcomes if outcome.failed] == []
    assert [len(outcome.history.missing()) for outcome in outcomes] == [0] * len(CALLS)
    assert sum(bool(cuts(outcome)) for outcome in outcomes) >= 3, "hardly one of them tore a record"


def test_a_slave_whose_log_was_torn_copies_the_rest_again_from_its_master() -> None:
    outcome = run("pair-sync seed=1 6000:kill=as/torn 7000:restart=as")
    assert not outcome.failed, outcome.report()
    assert any("its size says" in reason for reason in cuts(outcome))
    disks = outcome.history.last_disks()
    assert [record.key for record in disks["a"].records] == [record.key for record in disks["as"].records]


def test_a_process_that_is_dead_already_can_still_lose_its_power_so() -> None:
    _, tale = observe("lone-async seed=1 4000:kill=a/process 4100:kill=a/torn 5500:restart=a")
    (lost,) = [i for i, event in enumerate(tale.events) if event.kind == "power lost"]
    assert tale.events[lost].cause == "in the middle of a write" and tale.state("a", lost) == DARK


def test_a_torn_page_finds_an_acknowledgement_that_came_too_early_and_is_shrunk_like_any_fault() -> None:
    spoil = called("acknowledges_before_it_syncs").plant
    noisy = (
        "lone-sync seed=1 3000:delay=a<>c/5 3400:clock=a/700 3500:slow=a/400 4000:kill=a/torn 5500:restart=a "
        "6000:mend=a"
    )
    failed = run(noisy, [spoil])
    assert "lost" in failed.kinds
    best, _ = shrink(failed, lambda scenario: run(scenario, [spoil]))
    assert str(best.scenario) == "lone-sync seed=1 4000:kill=a/torn"
    assert best.command.endswith('run "lone-sync seed=1 4000:kill=a/torn"')


@pytest.mark.parametrize("text", ["kill=a/torn", "crash=a/torn/after/3"])
def test_a_torn_death_is_written_and_read_back(text: str) -> None:
    scenario = Scenario.parse(f"lone-sync seed=1 5:{text}")
    assert str(scenario) == f"lone-sync seed=1 5:{text}" and Scenario.parse(str(scenario)) == scenario
