"""The table of promises: what may be lost, how old it can be, and that it is always the log's end."""

from itertools import combinations

import pytest

from mq.sim.befell import befell
from mq.sim.history import History, Record
from mq.sim.judge import judge
from mq.sim.members import BrokerMember
from mq.sim.promises import (
    ANOMALIES,
    ANY,
    BEHIND,
    COSTLY,
    FAULTS,
    FLUSHES,
    HELD_UP,
    LAG_MS,
    MASTERS,
    OF_A_SLAVE,
    PAIRS,
    REPLICATIONS,
    ROWS,
    SLAVES,
    UNSYNCED_MS,
    YOUNG,
    Way,
    allowed,
    classes,
    forbidden,
    losses,
    table,
)
from mq.sim.scenario import DEATHS, KINDS, Fault

QUEUE = "flights/a/0"
TOLD_MS = 50_000.0  # of the message that is lost
SENT_BEFORE_MS = 5
POWER, DISK, BOTH = "power death", "disk destroyed", "slave's power death"


def history_of(flush: str, replication: str, lost: tuple[int, ...] = (4,), count: int = 5) -> History:
    """Message i was acknowledged at TOLD_MS + 10 (i - 4); all are kept but those that are `lost`."""
    history = History(flush, replication, ("flights",))
    for number in range(count):
        told_ms = TOLD_MS + 10 * (number - 4)
        history.send(f"m{number}", "flights", b"", "gate", told_ms - SENT_BEFORE_MS)
        history.tell(f"m{number}", "SEND_OK", told_ms, QUEUE, number)
    there = [Record(f"m{n}", b"", QUEUE, n, 100 * n) for n in range(count) if n not in lost]
    history.keep("a", there, 90_000)
    return history


def is_defect(
    flush: str, replication: str, *faults: tuple[str, float], lost: tuple[int, ...] = (4,), group: str = "a"
) -> bool:
    """Whether losing these is forbidden after (fault, how long after the acknowledgement of message 4)."""
    history = history_of(flush, replication, lost)
    for fault, after_ms in faults:
        history.happened(fault, group, TOLD_MS + after_ms)
    return bool(judge(history))


# ---------------------------------------------------------------- how old


def test_without_a_flush_what_the_power_takes_is_at_most_eleven_seconds_old() -> None:
    assert not is_defect("ASYNC_FLUSH", "NONE", (POWER, UNSYNCED_MS))
    assert is_defect("ASYNC_FLUSH", "NONE", (POWER, UNSYNCED_MS + 1)), "it had been synced long ago"
    assert not is_defect("ASYNC_FLUSH", "NONE", (POWER, -SENT_BEFORE_MS)), "its answer was under way"
    assert is_defect("ASYNC_FLUSH", "NONE", (POWER, -SENT_BEFORE_MS - 1)), "it was sent after that"


def test_a_slave_may_lose_what_it_had_received_before_the_master_has_synced_it_and_answers() -> None:
    """The answer waits for both; when the slower of them is done, the other may be dead already."""
    assert not is_defect("SYNC_FLUSH", "SYNC_MASTER", (BOTH, -SENT_BEFORE_MS), (DISK, 5))
    assert is_defect("SYNC_FLUSH", "SYNC_MASTER", (BOTH, -SENT_BEFORE_MS - 1), (DISK, 5))


@pytest.mark.parametrize("fault", ["slow disk", "full disk", "failed sync"])
def test_a_disk_that_syncs_late_or_not_at_all_loses_what_is_older(fault: str) -> None:
    assert not is_defect("ASYNC_FLUSH", "NONE", (fault, -40_000), (POWER, 30_000))
    assert is_defect("ASYNC_FLUSH", "SYNC_MASTER", (fault, -9_000), (POWER, 1), (BOTH, 30_000)), (
        "it was the master's disk, and the slave had time to sync"
    )
    assert not is_defect("ASYNC_FLUSH", "SYNC_MASTER", (f"slave's {fault}", -9), (POWER, 1), (BOTH, 30_000))


def test_a_sync_that_was_waited_for_saves_it_from_the_power_and_not_from_a_failed_sync_before() -> None:
    assert is_defect("SYNC_FLUSH", "NONE", (POWER, 1))
    assert not is_defect("SYNC_FLUSH", "NONE", ("failed sync", -40_000), (POWER, 30_000))


def test_the_only_disk_takes_everything_with_it() -> None:
    assert not is_defect("SYNC_FLUSH", "NONE", (DISK, 40_000), lost=(0, 1, 2, 3, 4))
    assert is_defect("SYNC_FLUSH", "NONE", (DISK, -SENT_BEFORE_MS - 1)), "it was stored on the new disk"


@pytest.mark.parametrize("flush", FLUSHES)
def test_a_slave_that_nobody_waits_for_lacks_the_last_second_or_all_since_it_was_held_up(flush: str) -> None:
    assert not is_defect(flush, "ASYNC_MASTER", (DISK, LAG_MS))
    assert is_defect(flush, "ASYNC_MASTER", (DISK, LAG_MS + 1))
    assert not is_defect(flush, "ASYNC_MASTER", (HELD_UP, LAG_MS), (DISK, 30_000))
    assert is_defect(flush, "ASYNC_MASTER", (HELD_UP, LAG_MS + 1), (DISK, 30_000)), "it had it by then"
    assert is_defect(flush, "ASYNC_MASTER", (DISK, 30_000), (HELD_UP, 30_000)), "the disk's end itself"


def test_what_the_master_lost_its_slave_still_has_unless_it_was_behind_as_well() -> None:
    assert not is_defect("ASYNC_FLUSH", "ASYNC_MASTER", (POWER, LAG_MS))
    assert is_defect("ASYNC_FLUSH", "ASYNC_MASTER", (POWER, LAG_MS + 1)), "the slave followed"
    assert not is_defect("ASYNC_FLUSH", "ASYNC_MASTER", (HELD_UP, 0), (POWER, UNSYNCED_MS))
    assert is_defect("ASYNC_FLUSH", "ASYNC_MASTER", (HELD_UP, 0), (POWER, UNSYNCED_MS + 1)), "it was synced"


@pytest.mark.parametrize("flush", FLUSHES)
def test_a_synchronous_master_acknowledges_a_copy_that_was_received_and_not_synced(flush: str) -> None:
    assert is_defect(flush, "SYNC_MASTER", (HELD_UP, 0), (DISK, 1)), "the slave had received it"
    assert not is_defect(flush, "SYNC_MASTER", (DISK, 30_000), (BOTH, UNSYNCED_MS))
    assert is_defect(flush, "SYNC_MASTER", (DISK, 30_000), (BOTH, UNSYNCED_MS + 1)), "it had synced it"
    assert not is_defect(flush, "SYNC_MASTER", (DISK, 30_000), ("slave's disk destroyed", 30_000))


def test_two_machines_without_power_lose_what_neither_had_synced() -> None:
    assert not is_defect("ASYNC_FLUSH", "SYNC_MASTER", (POWER, UNSYNCED_MS), (BOTH, UNSYNCED_MS))
    assert is_defect("ASYNC_FLUSH", "SYNC_MASTER", (POWER, UNSYNCED_MS + 1), (BOTH, 1))
    assert is_defect("ASYNC_FLUSH", "SYNC_MASTER", (POWER, 1), (BOTH, UNSYNCED_MS + 1))
    assert is_defect("ASYNC_FLUSH", "SYNC_MASTER", (POWER, 1))
    assert is_defect("SYNC_FLUSH", "SYNC_MASTER", (POWER, 1), (BOTH, 1)), "the master had synced it"


@pytest.mark.parametrize("replication", PAIRS)
def test_whatever_befalls_the_slave_alone_costs_nothing(replication: str) -> None:
    for flush in FLUSHES:
        assert is_defect(flush, replication, *[(fault, 1.0) for fault in (*OF_A_SLAVE, HELD_UP)])


def test_of_several_deaths_any_can_be_the_one_that_took_it() -> None:
    assert not is_defect("ASYNC_FLUSH", "NONE", (POWER, -30_000), (POWER, 5), (POWER, 60_000))
    assert is_defect("ASYNC_FLUSH", "NONE", (POWER, -30_000), (POWER, 60_000))


def test_another_groups_faults_excuse_nothing() -> None:
    assert is_defect("ASYNC_FLUSH", "NONE", (POWER, 1), group="b")
    assert is_defect("SYNC_FLUSH", "NONE", (DISK, 1), group="b")


# ---------------------------------------------------------------- only the end


def test_a_loss_in_the_middle_of_what_is_still_there_is_a_defect_under_any_fault() -> None:
    assert not is_defect("ASYNC_FLUSH", "NONE", (POWER, 1), lost=(2, 3, 4))
    assert is_defect("ASYNC_FLUSH", "NONE", (POWER, 1), lost=(2, 4)), "number 3 lay behind number 2"
    assert is_defect("SYNC_FLUSH", "ASYNC_MASTER", (DISK, 1), lost=(3,))


def test_what_was_acknowledged_after_the_power_came_back_may_lie_behind_a_loss() -> None:
    assert not is_defect("ASYNC_FLUSH", "NONE", (POWER, -5), lost=(3,)), "number 4 was sent later"
    assert is_defect("ASYNC_FLUSH", "NONE", (POWER, 0), lost=(3,)), "number 4 was there already"


def test_an_earlier_past_of_the_queue_on_the_slave_does_not_lie_behind_a_loss() -> None:
    """The master's disk was destroyed before: its queues began anew, and the slave has the old ones."""
    history = history_of("ASYNC_FLUSH", "ASYNC_MASTER")
    history.send("old", "flights", b"", "gate", 5_000)
    history.tell("old", "SEND_OK", 5_010, QUEUE, 70)
    history.keep("as", [Record("old", b"", QUEUE, 70, 7_000)], 90_000)
    history.happened(DISK, "a", 20_000)
    history.happened(POWER, "a", TOLD_MS + 1)
    assert [anomaly.kind for anomaly in judge(history)] == []


def test_a_new_slave_has_no_history_so_what_is_left_of_it_may_lie_behind_a_loss() -> None:
    destroyed = ("slave's disk destroyed", 1.0)
    assert is_defect("SYNC_FLUSH", "SYNC_MASTER", (DISK, 5), lost=(0, 1))
    assert not is_defect("SYNC_FLUSH", "SYNC_MASTER", destroyed, (DISK, 5), lost=(0, 1))


def test_a_copy_whose_properties_the_power_zeroed_is_a_hole_only_there_and_only_by_that() -> None:
    """The slave takes such a record for whole, so its master never sends it again."""

    def is_forbidden(*torn: int, by: str = BOTH, master: str = DISK) -> bool:
        history = history_of("SYNC_FLUSH", "ASYNC_MASTER", lost=(2,))
        history.torn = [(QUEUE, number) for number in torn]
        history.happened(by, "a", TOLD_MS + 1)
        history.happened(master, "a", TOLD_MS + 5)
        return bool(judge(history))

    assert not is_forbidden(2)
    assert is_forbidden(), "nothing was torn"
    assert is_forbidden(3), "another record was"
    assert is_forbidden(2, by="slave's process death"), "a process that dies tears nothing"
    assert is_forbidden(2, master="process death"), "the master still has it"


# ---------------------------------------------------------------- the table as a whole


def test_more_faults_allow_more_and_never_less() -> None:
    for flush in FLUSHES:
        for replication in REPLICATIONS:
            for pair in combinations(FAULTS, 2):
                both = set(allowed(flush, replication, pair))
                for fault in pair:
                    one = set(allowed(flush, replication, [fault]))
                    assert one <= both
                assert both.isdisjoint(forbidden(flush, replication, pair))
                assert both | set(forbidden(flush, replication, pair)) == set(ANOMALIES)


def test_a_stronger_policy_allows_no_loss_that_a_weaker_one_forbids() -> None:
    every = [faults for size in (1, 2, 3) for faults in combinations(FAULTS, size)]
    for faults in every:
        for replication in REPLICATIONS:
            flushed, unflushed = (bool(losses(flush, replication, faults)) for flush in reversed(FLUSHES))
            assert flushed <= unflushed, (replication, faults)
        for flush in FLUSHES:
            alone, behind, waited = (bool(losses(flush, name, faults)) for name in REPLICATIONS)
            assert waited <= behind <= alone, (flush, faults)


def test_nothing_is_allowed_when_nothing_happened_and_these_faults_excuse_nothing() -> None:
    harmless = {*FAULTS} - {POWER, DISK}
    for flush in FLUSHES:
        for replication in REPLICATIONS:
            assert allowed(flush, replication, []) == ()
            assert allowed(flush, replication, harmless) == ()


def test_every_row_of_the_table_speaks_of_what_there_is_and_gives_a_reason() -> None:
    for row in (*MASTERS, *SLAVES, *ROWS):
        assert set(row.flushes) <= set(FLUSHES)
        assert set(row.replications) <= set(REPLICATIONS)
        assert set(row.faults) <= set(FAULTS)
        assert len(row.because) > 10 and (isinstance(row, type(ROWS[0])) or row.age in (ANY, YOUNG, BEHIND))
    for other in ROWS:
        assert other.allowed and set(other.allowed) <= set(ANOMALIES) - {"lost"}


def cells() -> dict[tuple[str, str], list[str]]:
    """What the printed table says may be lost, by flush and replication, a text for each row."""
    head, *rows = [line.strip("|").split("|") for line in table().splitlines() if line[:1] == "|"][::1]
    rows = [[cell.strip() for cell in row] for row in rows[1 : len(COSTLY) + 1]]
    assert [row[0] for row in rows] == [" + ".join(faults) for faults in COSTLY]
    heads = [tuple(cell.strip().split(", ")) for cell in head[1:]]
    return {(flush, name): [row[at] for row in rows] for at, (flush, name) in enumerate(heads, 1)}


def test_the_printed_table_says_what_the_rows_say() -> None:
    shown = cells()
    assert list(shown) == [(flush, name) for flush in FLUSHES for name in REPLICATIONS]
    for (flush, replication), texts in shown.items():
        for faults, text in zip(COSTLY, texts, strict=True):
            if replication == "NONE" and set(faults) & set(OF_A_SLAVE):
                assert text == ""
            else:
                assert (text == "nothing") is (not losses(flush, replication, faults)), (flush, replication)


def test_the_printed_table_reads_as_the_policies_are_meant() -> None:
    shown = cells()
    assert shown["SYNC_FLUSH", "SYNC_MASTER"] == [*["nothing"] * 4, YOUNG, ANY, "nothing", YOUNG, ANY]
    assert shown["ASYNC_FLUSH", "SYNC_MASTER"] == [
        "nothing", YOUNG, YOUNG, "nothing", YOUNG, ANY, "nothing", YOUNG, ANY,
    ]  # fmt: skip
    assert shown["SYNC_FLUSH", "ASYNC_MASTER"] == [
        *["nothing"] * 3, BEHIND, f"{YOUNG} or {BEHIND}", ANY, BEHIND, f"{YOUNG} or {BEHIND}", ANY,
    ]  # fmt: skip
    assert shown["ASYNC_FLUSH", "ASYNC_MASTER"] == [
        f"{YOUNG} and {BEHIND}", YOUNG, YOUNG, BEHIND, f"{YOUNG} or {BEHIND}", ANY,
        BEHIND, f"{YOUNG} or {BEHIND}", ANY,
    ]  # fmt: skip
    assert shown["ASYNC_FLUSH", "NONE"] == [YOUNG, "", "", ANY, "", "", ANY, "", ""]
    assert shown["SYNC_FLUSH", "NONE"] == ["nothing", "", "", ANY, "", "", ANY, "", ""]


def test_the_bounds_that_the_table_speaks_of_are_those_that_are_applied() -> None:
    """Eleven seconds: a thorough flush each 10 s, a look each 500 ms, and the sync. A second: the network."""
    assert (UNSYNCED_MS, LAG_MS) == (11_000, 1_000)
    assert f"at most {UNSYNCED_MS / 1000:g} s old" == YOUNG
    assert "acknowledged 1 s before, or since the slave was held up" in table()


def test_the_lines_of_the_printed_table_are_all_that_can_cost_a_copy() -> None:
    """Whatever faults allow a loss, the faults of some column are among them, and allow it too."""
    every = [faults for size in (1, 2, 3) for faults in combinations(FAULTS, size)]
    for flush in FLUSHES:
        for replication in REPLICATIONS:
            costly = [set(column) for column in COSTLY if losses(flush, replication, column)]
            for faults in every:
                if losses(flush, replication, faults):
                    assert any(column <= set(faults) for column in costly), (flush, replication, faults)


def test_every_fault_of_a_scenario_has_a_class_or_only_ends_another() -> None:
    ends = {"restart", "heal", "mend"}
    for name in KINDS:
        for death in DEATHS:
            found = classes(name, (death,))
            assert (found == "") is (name in ends), name
            assert found in ("", *FAULTS)
    assert [classes("kill", (death,)) for death in DEATHS] == ["process death", POWER, POWER]


# ---------------------------------------------------------------- whom a fault befalls


def brokers() -> list[BrokerMember]:
    """A pair a and as, and b alone."""
    slave = {"brokerName": "a", "brokerId": "1", "brokerRole": "SLAVE"}
    return [
        BrokerMember("a", "10.0.0.1", {}),
        BrokerMember("as", "10.0.0.2", slave),
        BrokerMember("b", "10.0.0.3", {}),
    ]


@pytest.mark.parametrize(
    ("word", "noted"),
    [
        ("kill=a/power", {(POWER, "a"), (HELD_UP, "a")}),
        ("kill=as/torn", {("slave's power death", "a"), (HELD_UP, "a")}),
        ("destroy=as", {("slave's disk destroyed", "a"), (HELD_UP, "a")}),
        ("destroy=b", {(DISK, "b")}),
        ("slow=as/5", {("slave's slow disk", "a"), (HELD_UP, "a")}),
        ("clock=as/5", {("clock jump", "a")}),
        ("kill=n/power", {(POWER, "")}),
        ("cut=a>as", {("partition", ""), (HELD_UP, "a")}),
        ("cut=as>*", {("partition", ""), (HELD_UP, "a")}),
        ("delay=*<>a/5", {("delay", ""), (HELD_UP, "a")}),
        ("reset=as<>a", {("reset", ""), (HELD_UP, "a")}),
        ("cut=a<>b", {("partition", "")}),
        ("cut=n>as", {("partition", "")}),
    ],
)
def test_a_fault_befalls_the_group_whose_machine_or_way_it_is(word: str, noted: set[tuple[str, str]]) -> None:
    history, fault = History(), Fault.parse(f"5:{word}")
    befell(history, brokers(), classes(fault.kind, fault.values), fault.target, fault.ways, 5.0)
    assert set(history.faults) == noted
    assert all(times == [5.0] for times in history.faults.values())


def test_a_way_without_faults_is_for_runs_without_a_slave() -> None:
    bare: list[Way] = [way for way in (*MASTERS, *SLAVES) if not way.faults]
    assert [way.replications for way in bare] == [("NONE",), ("ASYNC_MASTER",)]
