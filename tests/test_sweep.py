"""Sweeps: a bounded share of the seeds that `make sweep` runs, and the command that runs them."""

import io
import tomllib
from pathlib import Path

import pytest
from rich.console import Console

from mq.sim.lab import run
from mq.sim.scenario import Scenario
from mq.sim.stories import story_of
from tests import sweep

SHARE = {"mixed": range(8), "mixed-pairs": range(5)}
FOUND = tomllib.loads((Path(__file__).parent / "found.toml").read_text("utf-8"))["found"]


@pytest.mark.parametrize(("name", "seed"), [(name, seed) for name, seeds in SHARE.items() for seed in seeds])
def test_no_forbidden_anomaly_under_mixed_faults(name: str, seed: int) -> None:
    outcome = run(Scenario(name, seed))
    assert not outcome.failed, outcome.report()
    assert len(outcome.history.acknowledged()) > 50, "a run in which nothing is acknowledged proves nothing"


@pytest.mark.parametrize("row", FOUND, ids=lambda row: str(row["scenario"]))
def test_what_a_sweep_once_found_stays_repaired(row: dict[str, str]) -> None:
    outcome = run(row["scenario"])
    assert not outcome.failed, f"{outcome.report()}\n\nonce before: {row['wrong']}"


def test_the_seeds_of_a_sweep_meet_every_kind_of_fault() -> None:
    drawn = {fault.kind for seed in range(200) for fault in story_of("mixed").faults_of(seed)}
    assert drawn == {
        "kill", "crash", "restart", "cut", "heal", "delay", "reset", "slow", "full", "fail", "readonly",
        "mend", "clock",
    }  # fmt: skip


def swept(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    page = io.StringIO()
    monkeypatch.setattr(sweep, "Console", lambda **_: Console(file=page, width=300))
    return sweep.main(arguments), page.getvalue()


def test_a_sweep_prints_its_rate_and_what_was_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    status, page = swept("lone-async", "--seeds", "1..3", "--jobs", "1", monkeypatch=monkeypatch)
    assert status == 0
    assert "lone-async: 2 seeds in " in page and " a minute" in page and "lost in 2" in page


def test_a_sweep_stops_at_the_first_failure_with_its_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def wrong(scenario: Scenario | str) -> object:
        outcome = run(scenario)
        if outcome.scenario.seed >= 2 and outcome.scenario.faults:
            outcome.trouble = "it broke"
        return outcome

    monkeypatch.setattr(sweep, "run", wrong)
    monkeypatch.setattr(sweep, "shrink", lambda outcome: (outcome, 0))
    monkeypatch.setattr(sweep, "REPORT", tmp_path / "sweep" / "report.html")
    status, page = swept("lone-sync", "--seeds", "1..9", "--jobs", "1", monkeypatch=monkeypatch)
    assert status == 1
    assert "lone-sync: 2 seeds in " in page and "seed 2 failed" in page
    assert "lone-sync seed=2" in (tmp_path / "sweep" / "report.html").read_text("utf-8")
    assert "trouble: it broke" in page and 'replay: python -m mq.sim run "lone-sync seed=2 ' in page


def test_a_sweep_of_no_time_runs_nothing_and_one_of_a_wrong_name_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, page = swept("lone-sync", "--seconds", "0", "--jobs", "1", monkeypatch=monkeypatch)
    assert status == 0 and "lone-sync: 0 seeds" in page
    assert swept("mixd", monkeypatch=monkeypatch)[0] == 2
    assert "there is no story 'mixd'" in capsys.readouterr().err


def test_a_whole_scenario_can_be_swept_too(monkeypatch: pytest.MonkeyPatch) -> None:
    status, page = swept("lone-sync seed=1 calm", monkeypatch=monkeypatch)
    assert status == 0 and page.startswith("ok: ")
