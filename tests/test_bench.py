"""The bench gives a figure only for work that was done: answered, and in the queues. Speed is no test."""

import json
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from chapters.ch03_consumequeue.logs import PaperLog
from mq.sim.history import History
from mq.sim.lab import Outcome
from mq.sim.scenario import Scenario
from mq.wire.codec import encode_frame
from mq.wire.codes import RequestCode
from mq.wire.command import RESPONSE_FLAG, RemotingCommand
from tests.bench import __main__ as bench
from tests.bench import lab, load
from tests.bench.inside import Job as InsideJob
from tests.bench.lag import Lags, Look, lags, watching
from tests.bench.measuring import BenchFailed, Case, Sample, Settings, take_turns
from tests.bench.rows import ROWS
from tests.bench.servers import child

HAS_MESSAGES = {"append", "send", "batch", "queues", "recovery", "opening", "replicated", "lag"}
HAS_SLAVES = {"replicated": 2, "lag": 2}
MAY_BE_ZERO = re.compile("memory|bytes|ms$")  # five queues fit into a page; a slave may have everything


def small(scratch: Path) -> Settings:
    """A run that takes no time."""
    return Settings(scratch, seconds=0.01, rounds=1, most_queues=5)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_measures_each_of_its_cases_and_says_what_was_checked(name: str, tmp_path: Path) -> None:
    settings = small(tmp_path)
    with ROWS[name](settings) as cases:
        results = take_turns(cases, settings)
    assert len(results) == len(cases) > 0
    for result in results:
        least = 0 if MAY_BE_ZERO.search(f"{result.case.name} {result.case.unit}") else 1e-9
        assert len(result.figures) == 1 and result.median >= least, result.case.name
        assert result.case.how and result.case.unit
    if name in HAS_MESSAGES:
        told = [pair for result in results for pair in equations(result.checked)]
        assert told, f"no case of {name} says that dispatch had caught up"
        assert all(sent == there for sent, there in told), told
    on_slaves = [result for result in results if "in the slave's queues" in result.checked]
    assert len(on_slaves) == HAS_SLAVES.get(name, 0), "who has a slave says what the slave has"
    assert not list(tmp_path.iterdir()), "a row leaves nothing behind"


def equations(checked: str) -> list[tuple[str, str]]:
    """`1,000 sent = 1,000 in the queues` -> ("1,000", "1,000")."""
    return re.findall(r"([\d,]+) \w+ = ([\d,]+) ", checked)


# ---------------------------------------------------------------- the lean client believes nothing


@contextmanager
def answering(*answers: bytes) -> Iterator[load.Wire]:
    """A wire whose other end has answered this already, and closed."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"".join(answers))
        theirs.shutdown(socket.SHUT_WR)
        yield load.Wire(ours)


def answer(number: int, code: int = 0, remark: str | None = None, **fields: str) -> bytes:
    """The frame that answers request `number`."""
    return encode_frame(
        RemotingCommand(code, fields, opaque=load.FIRST_OPAQUE + number, flag=RESPONSE_FLAG, remark=remark)
    )


def requests(count: int) -> list[bytes]:
    """Frames to send; what they say does not matter here."""
    return list(load.send_frames(load.Job("", count)))


def test_answers_in_any_order_are_all_counted() -> None:
    with answering(answer(2), answer(0), answer(1)) as wire:
        load.pump(wire, requests(3), window=3)


def test_an_answer_with_another_code_is_no_send() -> None:
    with (
        answering(answer(0), answer(1, 2, "busy")) as wire,
        pytest.raises(load.Fault, match=r"request 1000001 was answered with code 2: busy"),
    ):
        load.pump(wire, requests(2), window=2)


def test_a_missing_answer_is_noticed() -> None:
    with (
        answering(answer(0), answer(2)) as wire,
        pytest.raises(load.Fault, match="nothing more came; 1 of 3 requests were never answered"),
    ):
        load.pump(wire, requests(3), window=3)


def test_a_second_answer_does_not_stand_for_a_missing_one() -> None:
    with (
        answering(answer(0), answer(0)) as wire,
        pytest.raises(load.Fault, match="request 0, which was not asked or answered before"),
    ):
        load.pump(wire, requests(2), window=2)


def test_no_more_requests_wait_than_the_window_allows() -> None:
    frames, (ours, theirs) = requests(5), socket.socketpair()
    with ours, theirs:
        theirs.sendall(answer(0) + answer(1))
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(load.Fault):
            load.pump(load.Wire(ours), frames, window=2)
        ours.shutdown(socket.SHUT_WR)
        sent = b"".join(iter(lambda: theirs.recv(1 << 16), b""))
    assert sent == b"".join(frames[:4]), "two at first, and one more for each answer"


@pytest.mark.parametrize(("there", "words"), [(9, "hold 9 messages, and 10 were"), (11, "and only 10 were")])
def test_queues_that_hold_more_or_less_than_was_sent_make_no_figure(there: int, words: str) -> None:
    with answering(answer(0, offset=str(there))) as wire, pytest.raises(load.Fault, match=words):
        load.caught_up(wire, load.Job("", 10, queues=1), wanted=10, timeout_s=0.0)


def test_a_pull_that_brings_other_messages_is_noticed() -> None:
    log = PaperLog()
    log.put(queue_offset=0)
    log.put(queue_offset=2)
    reply = RemotingCommand(0, {"nextBeginOffset": "2"}, bytes(log.data))
    with pytest.raises(load.Fault, match="queue 0 from 0: other messages came"):
        load.received(load.Job("", 1, "pull"), reply, [0], 0)


# ---------------------------------------------------------------- slaves


class Told(load.Wire):
    """A wire to a broker whose answers are known: the end of its one queue, and of its log."""

    def __init__(self, queue_end: int, log_end: int) -> None:
        body = json.dumps({"table": {"commitLogMaxOffset": str(log_end)}}).encode()
        self.answers = [RemotingCommand(0, {"offset": str(queue_end)}), RemotingCommand(0, {}, body)]

    def ask(self, code: int, header: object) -> RemotingCommand:
        """The answers do not depend on how often is asked."""
        return self.answers[code == RequestCode.GET_BROKER_RUNTIME_INFO]


@pytest.mark.parametrize(
    ("there", "end", "words"),
    [
        (11, 2_840, "on the slave the queues hold 11 messages, and only 10 were sent"),
        (9, 2_840, "on the slave the queues hold 9 messages, and 10 were sent"),
        (10, 2_556, "the slave's log ends at 2,556, its master's at 2,840"),
    ],
)
def test_a_slave_that_has_something_else_makes_no_figure(there: int, end: int, words: str) -> None:
    master, slave, job = Told(10, 2_840), Told(there, end), load.Job("", 10, queues=1)
    with pytest.raises(load.Fault, match=words):
        load.same_at_slave(master, slave, job, wanted=10, timeout_s=0.0)


def test_a_lag_is_counted_from_the_masters_answer_to_the_slaves_that_has_reached_it() -> None:
    master = [Look(0.0, 0.1, 0), Look(1.0, 1.25, 500), Look(2.0, 2.25, 900), Look(9.0, 9.9, 900)]
    slave = [Look(0.0, 0.2, 0), Look(0.9, 1.0, 400), Look(1.4, 1.6, 450), Look(2.0, 2.125, 900)]
    found = lags(master, slave)
    assert found == Lags([875.0, 0.0], [100, 0], 250.0)


@pytest.mark.parametrize(
    ("master", "slave", "words"),
    [
        ((500, 500), (0, 500), "did not grow"),
        ((0, 500), (0, 400), "slave's log ends at 400, its master's at 500"),
    ],
)
def test_a_log_that_never_grew_or_was_never_reached_has_no_lag(
    master: Sequence[int], slave: Sequence[int], words: str
) -> None:
    looks = [[Look(i, i + 0.1, end) for i, end in enumerate(ends)] for ends in (master, slave)]
    with pytest.raises(BenchFailed, match=words):
        lags(*looks)


def test_a_broker_that_goes_away_while_it_is_watched_makes_no_figure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        listener.close()
        with (
            pytest.raises(BenchFailed, match=r"was not watched to the end: .+refused"),
            watching(address, address),
        ):
            pass


# ---------------------------------------------------------------- the fault lab


def test_a_seed_that_fails_makes_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(scenario: Scenario) -> Outcome:
        return Outcome(scenario, History(), trouble="Deadlock: nobody moves")

    monkeypatch.setattr(lab, "run_scenario", run)
    with pytest.raises(load.Fault, match=r'FAILED: trouble: python -m mq.sim run "mixed-pairs seed=0"'):
        lab.run(lab.Job(3))


def test_a_seed_with_two_journals_makes_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = iter("ABCD")
    monkeypatch.setattr(
        lab, "run_scenario", lambda scenario: Outcome(scenario, History(), digest=next(digests))
    )
    with pytest.raises(load.Fault, match="mixed-pairs seed=0: run twice, its journals differ"):
        lab.run(lab.Job(3))


# ---------------------------------------------------------------- figures


def test_cases_take_turns_and_ratios_are_made_within_a_round(tmp_path: Path) -> None:
    turns: list[str] = []

    def case(name: str, figures: Sequence[float], beside: str = "") -> Case:
        left = iter(figures)

        def run(amount: int) -> Sample:
            turns.append(name)
            return Sample(next(left), amount, 1.0, "")

        return Case(name, "x/s", "how", run, beside)

    base = case("base", [99, 10, 20, 40])
    mine, theirs = take_turns([case("mine", [99, 5, 20, 10], "base"), base], Settings(tmp_path, rounds=3))
    assert turns == ["mine", "base", "mine", "base", "mine", "base", "mine", "base"]
    assert mine.figures == [5, 20, 10] and theirs.figures == [10, 20, 40], "the warm-up is not counted"
    assert mine.ratios == [0.5, 1.0, 0.25] and not theirs.ratios
    assert mine.median == 10


def test_a_child_that_fails_ends_its_row_with_its_sentence(tmp_path: Path) -> None:
    (tmp_path / "commitlog").write_text("not a directory")
    with pytest.raises(BenchFailed, match="commitlog"):
        child(InsideJob(str(tmp_path), 64))


def test_a_row_without_a_figure_is_told_and_fails_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def broken(settings: Settings) -> Iterator[Sequence[Case]]:
        """What cannot be"""
        raise BenchFailed("10 were sent, and the queues hold 9")
        yield []

    rows: dict[str, Callable[[Settings], object]] = {"broken": broken, "machine": ROWS["machine"]}
    monkeypatch.setattr(bench, "ROWS", rows)
    settings = small(tmp_path)
    assert bench.run(settings, ["broken", "machine"], tmp_path / "out.json") == 1
    printed = capsys.readouterr().out
    assert "broken: What cannot be\n  no figure: 10 were sent, and the queues hold 9" in printed
    assert "fdatasync" in printed, "the other rows are measured all the same"
    assert '"machine": [' in (tmp_path / "out.json").read_text("utf-8")
