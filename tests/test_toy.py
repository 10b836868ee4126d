"""The broker on one page keeps what it promises, and each of its twelve failures shows what its page says.

The count of every failure is worked out a second time here, from the events and the rule for queues alone.
"""

import ast
import heapq
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from random import Random
from zlib import crc32

import pytest

from chapters import breaks, toy
from chapters.breaks import BREAKS, Shown, airports
from chapters.story import (
    BROKERS,
    CANCELLED,
    DEPARTED,
    Event,
    january,
    new_york_ms,
)
from chapters.toy import Broker, Consumer, Damaged, Producer, choose

ROOT = Path(__file__).parent.parent


@cache
def shown(number: int) -> Shown:
    return BREAKS[number]()


def queue_number(key: str) -> int:
    """0 to 23: the place of a key's queue in the list of all queues."""
    return crc32(key.encode()) % 24


def stored_at(name: str) -> list[Event]:
    """January's events whose queue is on this broker."""
    return [event for event in january() if BROKERS[queue_number(event.key) // 8] == name]


def between(events: Iterable[Event], start_ms: int, end_ms: int) -> int:
    return sum(start_ms <= event.when_ms < end_ms for event in events)


def three_records() -> tuple[Broker, list[int], list[toy.Message]]:
    broker, messages = Broker(), [("N384HA", b"scheduled"), ("N38458", b""), ("N384HA", b"departed")]
    for key, body in messages:
        broker.put(3, key, body)
    return broker, broker.queues[3], messages


# The toy.


def test_january_is_read_back_as_it_was_published_in_order_for_each_key() -> None:
    names = airports()
    sent, read = defaultdict(list), defaultdict(list)
    producer = Producer(names)
    for event in january():
        producer.send(event.key, event.body)
        sent[event.key].append(event.body)
    for key, body in Consumer(names.route()).poll():
        read[key].append(body)
    assert read == sent


def test_a_second_poll_brings_only_what_came_since_the_first() -> None:
    names = airports()
    producer, consumer = Producer(names), Consumer(names.route())
    producer.send("N384HA", b"scheduled")
    assert list(consumer.poll()) == [("N384HA", b"scheduled")]
    assert list(consumer.poll()) == []
    producer.send("N384HA", b"departed")
    assert list(consumer.poll()) == [("N384HA", b"departed")]


def test_all_queues_of_all_brokers_form_one_list_and_a_key_always_has_the_same_one() -> None:
    names = airports()
    route = names.route()
    assert [(names.brokers[name], queue_id) for name in BROKERS for queue_id in range(8)] == route
    assert choose(route, "N384HA") == route[queue_number("N384HA")]


def test_every_flipped_bit_of_the_log_is_noticed_by_the_checksum_of_its_record() -> None:
    broker, positions, messages = three_records()
    for at in range(len(broker.log)):
        for bit in range(8):
            broker.log[at] ^= 1 << bit
            for number, position in enumerate(positions):
                end = positions[number + 1] if number < 2 else len(broker.log)
                if position <= at < end:
                    with pytest.raises(Damaged):
                        broker.read(position)
                else:
                    assert broker.read(position) == messages[number]
            broker.log[at] ^= 1 << bit


def test_a_log_cut_at_any_byte_gives_the_whole_records_before_the_cut_and_no_half_one() -> None:
    broker, positions, messages = three_records()
    whole = bytes(broker.log)
    ends = [*positions[1:], len(whole)]
    for cut in range(len(whole)):
        broker.log = bytearray(whole[:cut])
        for position, end, message in zip(positions, ends, messages, strict=True):
            if end <= cut:
                assert broker.read(position) == message
            else:
                with pytest.raises(Damaged):
                    broker.read(position)


def test_a_page_of_zeros_is_not_taken_for_a_record_although_the_checksum_of_nothing_is_zero() -> None:
    broker = Broker()
    broker.log = bytearray(64)
    with pytest.raises(Damaged):
        broker.read(0)


# The failures, counted a second time.


def test_break_0_every_piece_of_the_stream_is_a_phantom_since_no_message_is_as_long_as_a_packet() -> None:
    sizes = [len(event.body) for event in january() if event.origin == "JFK"]
    assert max(sizes) < 1460
    assert shown(0)[:2] == ("phantom", -(-sum(sizes) // 1460))


def test_break_1_what_a_stale_route_sends_to_lga_after_its_move_is_not_seen() -> None:
    assert shown(1)[:2] == ("stale route", between(stored_at("LGA"), new_york_ms(30, 12), new_york_ms(60)))


def test_break_2_what_ewr_acknowledged_since_midnight_is_lost_with_its_memory() -> None:
    assert shown(2)[:2] == ("lost", between(stored_at("EWR"), new_york_ms(30), new_york_ms(30, 12)))


def test_break_3_without_a_queue_every_record_of_the_broker_is_touched() -> None:
    machine = queue_number("N384HA") // 8
    log = [event.key for event in january() if queue_number(event.key) // 8 == machine]
    assert shown(3)[:2] == (breaks.WASTE, len(log) - log.count("N384HA"))


def test_break_4_all_that_had_its_only_copy_at_jfk_is_lost_when_jfk_burns() -> None:
    assert shown(4)[:2] == ("lost", between(stored_at("JFK"), 0, new_york_ms(31, 12)))


def test_break_5_a_request_each_second_for_1301_minutes_is_nearly_always_answered_with_nothing() -> None:
    queue = queue_number("N384HA")
    news = {
        event.when_ms
        for event in january()
        if queue_number(event.key) == queue and new_york_ms(9, 9) < event.when_ms <= new_york_ms(10, 6, 41)
    }
    requests = 1_301 * 60 + 1
    assert shown(5)[:2] == (breaks.WASTE, requests - len(news) - 1)  # the first brings what lay there at nine
    assert f"{requests:,} requests" in shown(5).lines[0]


def test_break_6_two_workers_leave_boards_with_a_wrong_final_state_and_one_worker_leaves_none() -> None:
    random = Random(51)
    board: dict[str, str] = {}
    truth: dict[str, str] = {}
    by_queue = defaultdict(list)
    for event in january():
        by_queue[queue_number(event.key)].append(event)
        truth[event.flight_id] = event.kind
    for queue in range(24):
        free = [(0.0, 0), (0.0, 1)]
        drawn: dict[str, tuple[float, str]] = {}
        for event in by_queue[queue]:
            at_ms, worker = heapq.heappop(free)
            done = at_ms + random.expovariate(1.0)
            heapq.heappush(free, (done, worker))
            drawn[event.flight_id] = max(drawn.get(event.flight_id, (0.0, "")), (done, event.kind))
        board |= {flight_id: kind for flight_id, (_, kind) in drawn.items()}
    wrong = sum(board[flight_id] != truth[flight_id] for flight_id in truth)
    assert shown(6)[:2] == ("out of order", wrong)
    assert wrong > 0
    assert breaks.two_workers(workers=1).times == 0


def test_break_7_neither_order_of_the_two_writes_survives_a_stop_between_them() -> None:
    cancelled = sum(event.kind == CANCELLED for event in january())
    assert shown(7)[:2] == ("visible before commit", cancelled)
    assert "Announcing first: 521 of 521" in shown(7).lines[1]
    assert "Recording first: 521 of 521" in shown(7).lines[2]


def test_break_8_asked_at_once_the_question_is_early_for_all_that_leave_within_fifteen_minutes() -> None:
    delays = Counter(event.delay_minutes for event in january() if event.kind == DEPARTED)
    assert shown(8)[:2] == ("early", sum(delays[minutes] for minutes in range(15)))
    assert "5,091 had not" in shown(8).lines[1]


def test_break_9_without_tags_all_of_january_is_carried_for_93_events() -> None:
    assert shown(9)[:2] == (breaks.WASTE, 80_476 - 93)


def test_break_10_logs_diverge_by_as_many_records_as_the_follower_was_behind() -> None:
    assert shown(10)[:2] == ("diverged", 100)
    assert breaks.early_yes(behind=1).times == 1


def test_break_11_two_desks_that_look_before_they_act_cancel_one_flight_twice() -> None:
    assert shown(11)[:2] == ("duplicated", 1)


@pytest.mark.parametrize("number", range(12))
def test_every_failure_has_a_known_name_and_prints_three_to_six_lines(
    number: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = shown(number)
    monkeypatch.setattr(breaks, "BREAKS", tuple(_always(result, each.__doc__) for each in BREAKS))
    breaks.show(number)
    lines = capsys.readouterr().out.splitlines()
    assert result.anomaly in (*breaks.ANOMALIES, breaks.WASTE)
    assert result.times > 0
    assert 3 <= len(lines) <= 6
    assert lines[-1] == f"{result.anomaly.capitalize()}: {result.times:,}. Chapter {number} repairs this."
    assert all(len(line) <= 110 for line in lines)


def _always(result: Shown, story: str | None) -> breaks.Break:
    def again() -> Shown:
        return result

    again.__doc__ = story
    return again


# The command.


def run(*options: str) -> subprocess.CompletedProcess[str]:
    """The command on a bare machine: no installed packages, no environment."""
    command = [sys.executable, "-S", "-E", "-W", "error", "-m", "chapters.toy", *options]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": ""}, capture_output=True, text=True
    )


def test_the_toy_runs_with_nothing_installed_and_tells_what_it_did_in_under_twenty_lines() -> None:
    result = run()
    assert (result.returncode, result.stderr) == (0, "")
    assert "80,476 events sent, 80,476 read, each aircraft's in order: True" in result.stdout
    for line in ("Jan 09 00:00   scheduled", "Jan 10 06:41   departed", "Jan 10 17:21   arrived"):
        assert line in result.stdout
    assert len(result.stdout.splitlines()) < 20


def test_a_failure_runs_with_nothing_installed() -> None:
    result = run("--break", "11")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.endswith("Duplicated: 1. Chapter 11 repairs this.\n")


@pytest.mark.parametrize("option", ["--list", "--break"])
def test_list_and_break_without_a_number_name_all_twelve(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert breaks.main([option]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:5] for line in lines] == [
        ["python3", "-m", "chapters.toy", "--break", str(number)] for number in range(12)
    ]


@pytest.mark.parametrize("options", [["--break", "12"], ["--break", "two"], ["--break", "-1"], ["--brake"]])
def test_an_option_that_means_nothing_gets_one_line_and_status_2(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert breaks.main(options) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == f"toy: '{' '.join(options)}' is not --list or --break N, with N from 0 to 11\n"


def test_a_bad_number_ends_the_command_with_status_2_and_no_traceback() -> None:
    result = run("--break", "12")
    assert (result.returncode, result.stdout, len(result.stderr.splitlines())) == (2, "", 1)


# The page.


def code_lines(path: Path) -> list[str]:
    """Lines that are no blank, comment, docstring or import."""
    source = path.read_text(encoding="utf-8")
    other = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    numbered = enumerate(source.splitlines(), start=1)
    return [
        line for number, line in numbered if number not in other and line.strip() and line.strip()[0] != "#"
    ]


def test_the_broker_fits_one_page() -> None:
    lines = code_lines(ROOT / "chapters" / "toy.py")
    assert len(lines) <= 65, f"{len(lines)} lines of code are more than a page"


def test_the_three_files_import_the_standard_library_alone() -> None:
    for name in ("toy", "breaks", "story"):
        tree = ast.parse((ROOT / "chapters" / f"{name}.py").read_text(encoding="utf-8"))
        modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        modules |= {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
        tops = {module.partition(".")[0] for module in modules}
        assert tops - sys.stdlib_module_names == {"chapters"} - ({"chapters"} if name == "story" else set())


@pytest.mark.parametrize("options", [[], ["--list"], ["--break", "3"]])
def test_a_reader_that_has_seen_enough_ends_the_toy_without_a_traceback(options: list[str]) -> None:
    """`python3 -m chapters.toy | head -1`, where each line leaves at once."""
    command = [sys.executable, "-u", "-m", "chapters.toy", *options]
    reader, writer = os.pipe()
    os.close(reader)  # before anything is written, so that the first line meets nobody
    ran = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (141, b"")
