"""What the promises cost: ratios within a round, and figures only for what was promised and copied."""

import asyncio
from pathlib import Path

import pytest

from chapters.ch04_replication import losses
from chapters.ch04_replication.losses import (
    BASE,
    Line,
    Rates,
    costs_text,
    figures_of,
    measured_text,
    name_of,
    promises,
    rates_of,
)
from mq.runtime.errors import MQError

SAFEST = ("SYNC_FLUSH", "SYNC_MASTER")


def rates() -> Rates:
    """Made up: the machine was twice as busy in the second round."""
    return {promise: [10_000.0, 5_000.0, 10_000.0] for promise in promises()} | {
        SAFEST: [4_000, 2_000, 5_000]
    }


def test_percents_are_made_within_a_round() -> None:
    figures = figures_of(rates())
    assert name_of(SAFEST) == "sync_flush_sync_master"
    assert figures["sync_flush_sync_master_percent"] == 40, "the busy round counts like the others"
    assert figures["sync_flush_sync_master_percent_min_max"] == [40, 50]
    assert figures["sync_flush_sync_master_per_s"] == 4_000
    assert figures["async_flush_no_slave_percent"] == 100
    assert figures["rounds"] == 3


def test_the_costs_stand_in_the_columns_of_the_losses() -> None:
    lines = costs_text(figures_of(rates())).splitlines()
    golden = (Path(__file__).parent / "golden" / "losses.txt").read_text("utf-8")
    heads = [line for line in golden.splitlines() if "promised  missing" in line]
    assert [line for line in lines if line.startswith("SYNC_MASTER")] == [
        "SYNC_MASTER                           10,000      100      4,000       40"
    ]
    assert {len(line) for line in lines if line.startswith(losses.REPLICATIONS)} == {len(heads[0])}


def test_without_measured_figures_the_command_says_how_they_are_made(tmp_path: Path) -> None:
    (tmp_path / "measured.toml").write_text('["chapters.measured"]\nevents = 80476\n', "utf-8")
    for path in (tmp_path / "measured.toml", tmp_path / "missing.toml"):
        assert "python -m tests.measure chapters.ch04_replication.losses" in measured_text(path)


def test_measured_figures_are_shown_with_day_and_machine(tmp_path: Path) -> None:
    figures = "".join(f"{name} = {value}\n" for name, value in figures_of(rates()).items())
    machine = 'date = 2026-01-31\nmachine = { cpu = "C", cores = 2, python = "CPython 3.11.7" }\n'
    file = tmp_path / "measured.toml"
    file.write_text(f'["chapters.ch04_replication.losses"]\n{machine}{figures}', "utf-8")
    text = measured_text(file)
    assert text.startswith(costs_text(figures_of(rates())))
    assert text.endswith("Measured on 2026-01-31: C, 2 cores, CPython 3.11.7.\n")


def test_real_brokers_take_turns_and_their_slaves_have_everything() -> None:
    found = asyncio.run(rates_of([BASE, SAFEST], messages=128, rounds=1))
    assert list(found) == [BASE, SAFEST]
    assert all(len(figures) == 1 and figures[0] > 0 for figures in found.values()), found


def test_a_slave_that_never_joins_makes_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line(SAFEST, tmp_path / "line")
    monkeypatch.setattr(losses, "PATIENCE_S", 0.0)

    async def no_slave(name: str, role: str) -> None:
        if role != "SLAVE":
            await started(name, role)

    async def run() -> None:
        try:
            await line.start()
        finally:
            await line.stop()

    started = line.processes.start
    monkeypatch.setattr(line.processes, "start", no_slave)
    with pytest.raises(MQError, match=r"SYNC_MASTER: Fault: request .* was answered with code 11: "):
        asyncio.run(run())
