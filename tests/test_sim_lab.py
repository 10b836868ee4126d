"""The lab: stories, verdicts, shrinking, the bounded journal, and the command line."""

import asyncio
import re
from pathlib import Path

import pytest

from chapters.lab import main as lab_main
from chapters.lab_report import write_report
from mq.routing.broker import Broker
from mq.routing.namesrv import NameServer
from mq.sim import loop, simulation
from mq.sim.__main__ import main
from mq.sim.checkers import Anomaly
from mq.sim.history import History
from mq.sim.lab import Outcome, run, shrink, written_out
from mq.sim.scenario import Fault, Scenario, ScenarioError
from mq.sim.stories import STORIES
from tests.broken_brokers import called


def gone_after_s(outcome: Outcome, who: str, broker: str = "a") -> float:
    """How long after the broker's going somebody forgot it."""
    history = outcome.history
    (absence,) = [absence for absence in history.absences if absence.machine == broker]
    later = [view for view in history.views if view.who == who and view.at_ms > absence.from_ms]
    return next(view.at_ms - absence.from_ms for view in later if broker not in view.brokers) / 1000


# ---------------------------------------------------------------- the stories of chapters 1 to 3


@pytest.mark.parametrize("seed", range(1, 4))
def test_a_reset_is_news_to_a_nameserver_at_once_and_to_a_client_at_its_next_poll(seed: int) -> None:
    outcome = run(f"expiry-reset seed={seed}")
    assert not outcome.failed, outcome.report()
    assert gone_after_s(outcome, "n") <= 0.2
    assert 0.2 < gone_after_s(outcome, "c") <= 30.5


@pytest.mark.parametrize("seed", range(1, 4))
def test_silence_is_believed_for_two_minutes_and_a_scan_and_by_a_client_for_a_poll_more(seed: int) -> None:
    outcome = run(f"expiry-silence seed={seed}")
    assert not outcome.failed, outcome.report()
    assert 90 < gone_after_s(outcome, "n") <= 130.5, "120 s since its last word, and a scan each 10 s"
    assert gone_after_s(outcome, "n") < gone_after_s(outcome, "c") <= gone_after_s(outcome, "n") + 30.5


def test_two_nameservers_disagree_until_the_broker_that_was_cut_from_one_is_heard_again() -> None:
    outcome = run("split-view seed=1")
    assert not outcome.failed, outcome.report()
    assert [note.rpartition(" from ")[0] for note in outcome.notes] == [
        "n1 and n2 disagreed",
        "c1 and c2 disagreed",
    ]
    views = {who: [view.brokers for view in outcome.history.views if view.who == who] for who in ("n1", "n2")}
    assert views["n1"] == [("a", "b")], "the one that hears it never doubted"
    assert views["n2"] == [("a", "b"), ("b",), ("a", "b")]
    (healed_ms,) = [fault.at_ms for fault in outcome.scenario.faults or () if fault.kind == "heal"]
    (back_ms,) = [view.at_ms for view in outcome.history.views if view.who == "n2"][2:]
    assert 0 < back_ms - healed_ms <= 30_500, "it is told again with the next registration"


def test_clients_send_and_read_on_what_they_remember_when_every_nameserver_is_dead() -> None:
    outcome = run("cached-routes seed=2")
    assert not outcome.failed, outcome.report()
    dark_ms = max(absence.from_ms for absence in outcome.history.absences)
    later = [sent for sent in outcome.history.acknowledged() if (sent.told_ms or 0) > dark_ms + 60_000]
    seen = {record.key for read in outcome.history.reads for record in read.records if read.reader == "c"}
    assert len(later) > 10 and {sent.key for sent in later} <= seen


def test_a_power_cut_takes_acknowledged_messages_under_async_flush_and_none_under_sync_flush() -> None:
    asynchronous = [run(f"lone-async seed={seed}") for seed in range(4)]
    synchronous = [run(f"lone-sync seed={seed}") for seed in range(4)]
    assert not any(outcome.failed for outcome in asynchronous + synchronous)
    assert sum(len(outcome.history.missing()) for outcome in asynchronous) > 0
    assert [len(outcome.history.missing()) for outcome in synchronous] == [0] * 4
    assert all(len(outcome.history.acknowledged()) > 200 for outcome in synchronous)


def test_even_sync_flush_lets_a_reader_miss_an_acknowledged_message_because_it_shows_unsynced_ones() -> None:
    outcome = run("lone-sync seed=8 2000:slow=a/400 4000:kill=a/power 5000:mend=a 5500:restart=a")
    assert not outcome.failed and not outcome.history.missing(), outcome.report()
    assert [anomaly.kind for anomaly in outcome.allowed] == ["skipped", "visible before commit"]
    assert "reader c went past flights/a/1 @31 and never saw message c-00068" in outcome.report()
    assert outcome.history.sent["c-00068"].is_acknowledged
    assert not outcome.history.sent["c-00066"].is_acknowledged, (
        "it had that place before, until the power went"
    )


def test_a_destroyed_master_takes_what_its_slave_had_not_received_unless_sends_waited_for_it() -> None:
    alone, waited = run("pair-async seed=1"), run("pair-sync seed=1")
    assert not alone.failed and not waited.failed, alone.report() + waited.report()
    assert alone.history.missing() and not waited.history.missing()
    assert {sent.status for sent in waited.history.sent.values()} >= {"SEND_OK", ""}


# ---------------------------------------------------------------- verdicts


def test_the_same_scenario_gives_the_same_journal_and_tracing_it_changes_no_other_event() -> None:
    one, again, traced = run("mixed seed=11"), run("mixed seed=11"), run("mixed seed=11", is_traced=True)
    assert one.digest == again.digest
    untraced = [(event.time_ms, event.node, event.kind) for event in traced.events if event.kind != "sent"]
    assert untraced == [(event.time_ms, event.node, event.kind) for event in one.events]
    assert "SEND_MESSAGE_V2:SUCCESS" in {str(dict(event.fields).get("what")) for event in traced.events}


def test_a_fault_for_a_machine_that_the_story_does_not_have_is_refused() -> None:
    with pytest.raises(ScenarioError, match="there is no machine 'b' here; there are n, a, c, audit"):
        run("lone-sync seed=1 1000:kill=b")


def test_an_exception_that_nobody_awaited_makes_a_run_fail() -> None:
    def spoil(part: Broker | NameServer) -> None:
        if isinstance(part, Broker):
            part.node.call_later(5_000, lambda: 1 // 0)

    outcome = run("lone-sync seed=1 calm", [spoil])
    assert outcome.kinds == ("trouble",)
    assert "on a: ZeroDivisionError" in outcome.report()


def test_a_broker_that_does_not_come_back_makes_a_run_fail() -> None:
    lives = []

    def spoil(part: Broker | NameServer) -> None:
        if isinstance(part, Broker):
            lives.append(part)
            if len(lives) > 1:
                part.node.disk.open("commitlog/nonsense", create=True).close()
                part.topics.load = lambda: 1 // 0  # type: ignore[method-assign, assignment, return-value]

    outcome = run("lone-sync seed=1 3000:kill=a 4000:restart=a", [spoil])
    assert "broker a does not start again" in outcome.trouble


def test_a_report_says_what_befell_each_broker_group_and_what_everybody() -> None:
    outcome = run("pair-sync seed=1 5000:cut=c>n 6000:kill=as/torn 6500:cut=a>as")
    assert outcome.befell() == [
        "befell everybody: partition",
        "befell a: slave held up, slave's power death",
    ]
    assert run("pair-sync seed=1 calm").befell() == []


def test_a_crash_that_waits_for_a_disk_call_that_never_comes_befell_nobody() -> None:
    assert run("lone-sync seed=1 4000:crash=a/power/before/99999").befell() == []
    assert run("lone-sync seed=1 4000:crash=a/power/before/9").befell() == ["befell a: power death"]


def forgets_every_broker(part: Broker | NameServer) -> None:
    """A NameServer that knows of nobody, whoever registers: whoever waits for a route waits in vain."""
    if isinstance(part, NameServer):
        part.tables.route = lambda topic: None  # type: ignore[method-assign]


def test_an_event_that_never_comes_is_a_deadlock_with_who_waits_where(tmp_path: Path) -> None:
    outcome = run("lone-sync seed=1 calm", [forgets_every_broker])
    first, *waiting = outcome.trouble.splitlines()
    assert first == (
        "Deadlock: every NameServer knows every master: waited for in vain for 40 s; these wait:"
    )
    assert any(line.startswith("  main on driver at Story.perform (story.py:") for line in waiting)
    assert outcome.kinds == ("trouble",) and f"trouble: {first}" in outcome.report()
    write_report(outcome.scenario, tmp_path / "report.html", [forgets_every_broker])
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "It did not come to its end" in page and first in page and waiting[0].strip() in page


def test_a_machine_that_waits_for_ever_is_named_with_its_task_and_line_when_the_time_is_up() -> None:
    def spoil(part: Broker | NameServer) -> None:
        if isinstance(part, Broker):
            part.start = asyncio.Event().wait  # type: ignore[method-assign, assignment]

    outcome = run("lone-sync seed=1 calm", [spoil])
    first, *waiting = outcome.trouble.splitlines()
    assert first.startswith("TimeoutError: virtual time is up at 1200000.000 ms; these still wait:")
    assert any(
        re.match(r"  start a on a at BrokerMember\.open .* > Event\.wait \(", line) for line in waiting
    )


def test_what_calls_itself_for_ever_is_named_in_the_same_words_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def spoil(part: Broker | NameServer) -> None:
        def again() -> None:
            part.node.call_soon(again)

        if isinstance(part, Broker):
            part.node.call_later(1_000, again)

    monkeypatch.setattr(loop, "MAX_STEPS_AT_ONE_INSTANT", 1_000)
    one, other = run("lone-sync seed=1 calm", [spoil]), run("lone-sync seed=1 calm", [spoil])
    assert one.trouble == other.trouble and " 0x" not in one.trouble
    assert "passed at 1000.000 ms; next would be <Call at 1.0 of a: " in one.trouble
    assert "spoil.<locals>.again>; these wait:" in one.trouble and "sender on c at " in one.trouble


def test_a_report_has_the_verdict_the_sentences_the_scenario_and_the_command() -> None:
    text = run("lone-async seed=1").report()
    assert text.startswith("ok: ") and "of them missing, which is allowed here" in text
    assert "allowed here: lost: message c-" in text and "lost: and " in text
    assert text.splitlines()[1:3] == ["  promise: ASYNC_FLUSH, replication NONE", "  befell a: power death"]
    assert text.endswith('replay: python -m mq.sim run "lone-async seed=1 2099:kill=a/power 3599:restart=a"')


def test_a_journal_that_is_too_long_is_cut_and_the_report_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run("lone-sync seed=1 calm")
    monkeypatch.setattr(simulation, "MAX_EVENTS_KEPT", 200)
    outcome = run("lone-sync seed=1 calm")
    assert len(outcome.events) <= 200 < len(whole.events)
    assert outcome.events_forgotten + len(outcome.events) == len(whole.events)
    assert outcome.digest == whole.digest
    assert f"its first {outcome.events_forgotten} events are not kept" in outcome.report()
    assert "not kept" not in whole.report()


def test_every_reader_of_a_run_that_logged_too_much_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(simulation, "MAX_EVENTS_KEPT", 300)
    shown = {}
    for command in ("golden", "replay", "diagram"):
        assert lab_main([command, "lone-sync seed=1 calm"]) == 0
        shown[command] = capsys.readouterr().out
    assert re.match(r"… the oldest \d+ events of this run were not kept\n", shown["golden"])
    assert re.search(r"its first \d+ events are not kept", shown["replay"])
    assert re.search(r"its first \d+ events were not kept", shown["diagram"])
    assert main(["run", "lone-sync seed=1 calm", "--journal"]) == 0
    assert "the journal was too long: its first " in capsys.readouterr().out


def test_the_journals_text_begins_with_a_note_when_it_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "MAX_EVENTS_KEPT", 4)
    with simulation.Simulation() as sim:
        for number in range(6):
            sim.record("tick", number=number)
        assert sim.journal_text().splitlines()[0] == "… the oldest 2 events of this run were not kept"
        assert len(sim.journal_text().splitlines()) == 5


# ---------------------------------------------------------------- shrinking


acknowledges_unsynced = called("acknowledges_before_it_syncs").plant
"""A broker that answers under SYNC_FLUSH before the sync."""


def test_a_failing_scenario_is_shrunk_to_the_faults_that_matter_with_their_times() -> None:
    noisy = (
        "lone-sync seed=3 1000:slow=a/5 1500:mend=a 2000:cut=c>n 2500:heal=c>n 3000:kill=a/power "
        "3500:clock=a/900 4500:restart=a 6000:reset=a<>c 7000:delay=a>c/5 8000:delay=a>c/0"
    )
    failed = run(noisy, [acknowledges_unsynced])
    assert "lost" in failed.kinds
    best, runs = shrink(failed, lambda scenario: run(scenario, [acknowledges_unsynced]))
    assert str(best.scenario) == "lone-sync seed=3 3000:kill=a/power"
    assert "lost" in best.kinds and runs <= 30


def fake(scenario: Scenario, failing: bool) -> Outcome:
    return Outcome(scenario, History(), trouble="it broke" if failing else "")


@pytest.mark.parametrize("wanted", [(), (3,), (0, 9), (2, 3, 7), tuple(range(10))])
def test_shrinking_keeps_exactly_what_the_failure_needs(wanted: tuple[int, ...]) -> None:
    faults = [Fault.of(1_000 + number, "kill", f"m{number}") for number in range(10)]
    needed = {faults[number] for number in wanted}

    def again(scenario: Scenario) -> Outcome:
        return fake(scenario, needed <= set(scenario.faults or ()))

    best, runs = shrink(again(Scenario("mixed", 1, tuple(faults))), again, tries=200)
    assert best.scenario.faults == tuple(faults[number] for number in wanted)
    assert runs <= 80


def test_shrinking_does_not_end_at_another_failure_than_it_began_with() -> None:
    """Without its restart this broker cannot be judged: that is trouble, and not the loss that was seen."""
    kill, restart = Fault.of(1_000, "kill", "a"), Fault.of(2_000, "restart", "a")

    def again(scenario: Scenario) -> Outcome:
        if restart not in (scenario.faults or ()):
            return fake(scenario, True)
        found = [Anomaly("lost", "message m is gone")] if kill in (scenario.faults or ()) else []
        return Outcome(scenario, History(), found)

    best, _ = shrink(again(Scenario("mixed", 1, (kill, restart))), again)
    assert best.scenario.faults == (kill, restart) and best.kinds == ("lost",)


def test_shrinking_stops_after_so_many_tries() -> None:
    faults = tuple(Fault.of(number, "kill", "a") for number in range(50))
    best, runs = shrink(
        fake(Scenario("mixed", 1, faults), True), lambda scenario: fake(scenario, False), tries=7
    )
    assert (runs, best.scenario.faults) == (7, faults)


def test_a_story_without_faults_of_its_own_is_written_out_before_it_is_run() -> None:
    assert run("lone-sync seed=5").scenario == written_out(Scenario("lone-sync", 5))
    assert written_out(Scenario("lone-sync", 5, ())).faults == ()


# ---------------------------------------------------------------- the command line


def test_the_command_runs_a_scenario_and_its_status_says_how_it_went(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["run", "lone-sync", "seed=1", "calm"]) == 0
    assert capsys.readouterr().out.startswith("ok: ")
    assert main(["run", "lone-sync seed=1 calm", "--journal"]) == 0
    assert "driver     verdict because ok: " in capsys.readouterr().out
    assert main(["run", "lone-sync seed=1 1:kil=a"]) == 2
    assert capsys.readouterr().err == "mq.sim: '1:kil=a': there is no fault 'kil'; did you mean 'kill'?\n"


def test_the_command_lists_stories_faults_and_promises(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == main(["promises"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in STORIES)
    assert "kill=a/death" in shown and "torn  " in shown and "SYNC_FLUSH, SYNC_MASTER |" in shown
