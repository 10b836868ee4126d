"""Kept runs: what the table of promises allows happens in one of them, and a stronger policy prevents it."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mq.sim.lab import Outcome, run
from mq.sim.promises import COSTLY, FLUSHES, OF_A_SLAVE, REPLICATIONS, ROWS, allowed, losses
from mq.sim.scenario import Scenario

KEPT: list[dict[str, Any]] = tomllib.loads((Path(__file__).parent / "kept.toml").read_text("utf-8"))["kept"]
COSTING = {fault for faults in COSTLY for fault in faults}
LEAST_TOLD = 30  # a run in which hardly anything is acknowledged cannot lose much


@cache
def outcome_of(scenario: str) -> Outcome:
    """Several rows are saved by the same run."""
    return run(scenario)


def befell(outcome: Outcome) -> set[str]:
    """What befell the one broker group, of all that can cost a copy."""
    return COSTING & set(outcome.history.faults_of("a"))


def name_of(row: dict[str, Any]) -> str:
    return str(row["scenario"])


@pytest.mark.parametrize("row", KEPT, ids=name_of)
def test_a_kept_run_shows_what_its_cell_of_the_table_allows(row: dict[str, Any]) -> None:
    outcome = outcome_of(row["scenario"])
    history = outcome.history
    assert not outcome.failed, outcome.report()
    assert (history.flush, history.replication) == (row["flush"], row["replication"])
    assert befell(outcome) == set(row["faults"]), "other faults than the cell's befell the group"
    assert {anomaly.kind for anomaly in outcome.allowed} >= set(row["shows"])


@pytest.mark.parametrize("row", [row for row in KEPT if "lost" in row["shows"]], ids=name_of)
def test_a_stronger_policy_or_a_fault_less_loses_nothing(row: dict[str, Any]) -> None:
    weak, saved = outcome_of(row["scenario"]), outcome_of(row["saved"])
    assert not saved.failed, saved.report()
    assert saved.history.missing() == [] and len(saved.history.acknowledged()) >= LEAST_TOLD
    assert not losses(saved.history.flush, saved.history.replication, saved.history.faults_of("a"))
    one, other = Scenario.parse(row["scenario"]), Scenario.parse(row["saved"])
    assert set(other.faults or ()) <= set(one.faults or ()) and one.seed == other.seed
    assert all(s >= w for s, w in zip(_strength(saved), _strength(weak), strict=True))
    assert other != one


def test_a_fault_is_left_out_only_where_no_policy_helps() -> None:
    for row in [row for row in KEPT if "saved" in row]:
        one, other = Scenario.parse(row["scenario"]), Scenario.parse(row["saved"])
        left_out = set(one.faults or ()) - set(other.faults or ())
        is_helpless = bool(losses(FLUSHES[-1], REPLICATIONS[-1], row["faults"]))
        assert bool(left_out) is is_helpless, row["scenario"]
        assert {fault.target for fault in left_out} <= {"as"}


def _strength(outcome: Outcome) -> tuple[int, int]:
    return FLUSHES.index(outcome.history.flush), REPLICATIONS.index(outcome.history.replication)


def seen(flush: str, replication: str, faults: tuple[str, ...]) -> set[str]:
    """What kept runs of this cell show."""
    rows = [row for row in KEPT if (row["flush"], row["replication"]) == (flush, replication)]
    return {kind for row in rows if set(row["faults"]) == set(faults) for kind in row["shows"]}


def test_every_loss_that_the_table_allows_is_kept() -> None:
    for flush in FLUSHES:
        for replication in REPLICATIONS:
            for faults in COSTLY:
                is_there = replication != "NONE" or not set(faults) & set(OF_A_SLAVE)
                if is_there and losses(flush, replication, faults):
                    assert "lost" in seen(flush, replication, faults), (flush, replication, faults)


def test_everything_else_that_a_row_allows_is_kept_under_every_policy() -> None:
    for flush in FLUSHES:
        for replication in REPLICATIONS:
            for row in ROWS:
                may = set(allowed(flush, replication, row.faults)) & set(row.allowed)
                if not row.replications or replication in row.replications:
                    assert may <= seen(flush, replication, row.faults), (flush, replication, row.faults)
