"""Sweeps: a bounded share of the seeds that `make sweep` runs, and the command that runs them."""

import io
import re
import tomllib
from pathlib import Path

import pytest
from rich.console import Console

from docs import found
from mq.sim.lab import run
from mq.sim.scenario import Scenario
from mq.sim.stories import story_of
from tests import sweep

SHARE = {"mixed": range(8), "mixed-pairs": range(5), "pair-losses": range(8)}
ROOT = Path(__file__).parent.parent
DATA = tomllib.loads((ROOT / "tests" / "found.toml").read_text("utf-8"))
FOUND = [*DATA["found"], *DATA["judged"]]


@pytest.mark.parametrize(("name", "seed"), [(name, seed) for name, seeds in SHARE.items() for seed in seeds])
def test_no_forbidden_anomaly_under_mixed_faults(name: str, seed: int) -> None:
    outcome = run(Scenario(name, seed))
    assert not outcome.failed, outcome.report()
    assert len(outcome.history.acknowledged()) > 50, "a run in which nothing is acknowledged proves nothing"


@pytest.mark.parametrize("row", FOUND, ids=lambda row: str(row["scenario"]))
def test_what_a_sweep_once_found_stays_repaired(row: dict[str, str]) -> None:
    outcome = run(row["scenario"])
    assert not outcome.failed, f"{outcome.report()}\n\nonce before: {row['wrong']}"


def test_what_a_hunt_found_names_code_and_a_test_that_are_there() -> None:
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests").glob("test_*.py"))
    for row in [*FOUND, *DATA["crash"]]:
        path, _, symbol = row["where"].partition(": ")
        assert f"def {symbol.rpartition('.')[2]}(" in (ROOT / path).read_text("utf-8"), row["where"]
        assert "scenario" in row or f"def {row['test']}(" in tests, row


def test_the_page_of_what_was_found_has_every_row_of_its_sources_and_no_broken_table() -> None:
    page = found.page(ROOT)
    for row in [*FOUND, *DATA["crash"]]:
        replay = row.get("scenario") or row["command"]
        assert f"| {found.words(replay)} | {row['seen']} | {row['wrong']} ({row['where']}) |" in page
    for name in found.HUNTS:
        assert len(found.kept(ROOT, name)) > 3
        for holds, before in found.kept(ROOT, name):
            assert f"| {holds} | {before} |" in page
    for table in re.findall(r"(?:^\|.*\n?)+", page, re.M):
        assert len({line.replace("\\|", "").count("|") for line in table.strip().splitlines()}) == 1, table
    assert len(re.findall(r"^\|---", page, re.M)) == 3 + len(found.HUNTS)


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
