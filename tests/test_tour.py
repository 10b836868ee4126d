"""The tour, small: it ends well, it says so when something is wrong, and it never leaves anything behind."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from chapters.cluster import Verdict, judge, message_of
from chapters.story import Event, january, parse
from mq.commitlog.hosts import encode_host
from mq.commitlog.message import encode_properties
from mq.commitlog.record import MessageExt, decode_record, encode_record

ROOT = Path(__file__).resolve().parent.parent


def start(tmp_path: Path, code: str = "") -> "subprocess.Popen[str]":
    """A quick tour whose temporary files lie in `tmp_path`; `code` runs first, in its process."""
    # A suite that was started in the background has Ctrl-C switched off, and its children would inherit that.
    imports = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    imports += "import sys, chapters.cluster as cluster, chapters.tour as tour"
    script = f"{imports}\n{code}\nsys.exit(tour.main(['--quick']))"
    environment = {**os.environ, "TMPDIR": str(tmp_path), "COLUMNS": "80"}
    return subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def pids_in(text: str) -> list[int]:
    """The processes of the table that the tour shows."""
    return [int(pid) for pid in re.findall(r"^(?:namesrv|EWR|JFK|LGA) +127\S+ +(\d+)$", text, re.MULTILINE)]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def processes_with(text: str) -> list[str]:
    """Every process of this machine whose command line or environment holds `text`."""
    listed = subprocess.run(["ps", "axeww", "-o", "pid,args"], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if text in line]


def assert_nothing_is_left(tmp_path: Path, output: str) -> None:
    """No process that the tour named or that works on its files, and no file."""
    left = [pid for pid in pids_in(output) if is_alive(pid)]
    assert not left, f"still running: {left}"
    assert not processes_with(str(tmp_path))
    assert not list(tmp_path.iterdir()), "files are left"


def test_a_quick_tour_ends_well_on_a_pipe_of_80_columns_and_leaves_nothing(tmp_path: Path) -> None:
    with start(tmp_path) as process:
        output, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, ""), output + errors
    assert len(pids_in(output)) == 4
    assert "checks that failed: 0" in output and "FAILED" not in output
    assert output.count("\nok ") == 6
    too_wide = [line for line in output.splitlines() if len(line) > 80]
    assert not too_wide, too_wide
    assert "\x1b" not in output, "escape sequences in a file help nobody"
    assert "departed   1,301 minutes late" in output
    assert re.search(r"LGA was killed with SIGKILL at the events of\s+Jan 30", output)
    assert_nothing_is_left(tmp_path, output)


@pytest.mark.parametrize(
    ("marker", "number", "status"),
    [
        ("1. A NameServer", signal.SIGINT, 130),  # while the processes start
        ("LGA  ", signal.SIGINT, 130),  # while January is published
        ("6. The storm", signal.SIGINT, 130),  # while the second cluster starts
        ("LGA  ", signal.SIGTERM, 143),
    ],
)
def test_an_interrupted_tour_leaves_nothing(tmp_path: Path, marker: str, number: int, status: int) -> None:
    with start(tmp_path) as process:
        assert process.stdout is not None
        seen = ""
        while marker not in seen:
            line = process.stdout.readline()
            assert line, f"the tour ended before {marker!r}: {seen}"
            seen += line
        running = processes_with(str(tmp_path))
        alive = [pid for pid in pids_in(seen) if is_alive(pid)]
        assert len(running) >= 1 + len(alive), "this test cannot see what it looks for"
        process.send_signal(number)
        rest, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (status, ""), seen + rest + errors
    assert "nothing of the tour is left" in rest
    assert_nothing_is_left(tmp_path, seen + rest)


def test_a_check_that_fails_is_said_and_is_the_exit_status(tmp_path: Path) -> None:
    with start(tmp_path, "tour.judge = lambda *_: cluster.Verdict(1, 2, 0, 0, 0)") as process:
        output, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (1, ""), errors
    assert "FAILED  " in output and "lost=2" in output and "checks that failed: 2" in output
    assert_nothing_is_left(tmp_path, output)


def test_a_broker_that_does_not_start_ends_the_tour_with_its_own_words(tmp_path: Path) -> None:
    with start(tmp_path, "cluster.SEGMENT_BYTES = 1") as process:
        output, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (1, ""), errors
    assert re.search(r"FAILED  (EWR|JFK|LGA) did not start: mq broker: mappedFileSizeCommitLog = 1", output)
    assert_nothing_is_left(tmp_path, output)


# ---------------------------------------------------------------- the judge

EVENTS = january()[:200]


def stored(events: Sequence[Event]) -> list[MessageExt]:
    """Events as a queue would give them back."""
    host, found = encode_host("127.0.0.1:1"), []
    for number, event in enumerate(events):
        message = message_of(event)
        properties = encode_properties(message.properties).encode()
        data = encode_record(b"flights", message.body, properties, 0, number, 0, 0, 0, 0, host, 0, host)
        found.append(decode_record(data))
    return found


def test_the_judge_finds_nothing_wrong_with_what_was_published() -> None:
    keys = len({event.key for event in EVENTS})
    verdict = judge(EVENTS, [stored(EVENTS)])
    assert verdict == Verdict(keys, 0, 0, 0, 0) and verdict.is_exact


def test_the_judge_counts_lost_and_doubled_and_strange_events() -> None:
    lost = judge(EVENTS, [stored(EVENTS[1:])])
    assert (lost.lost, lost.is_exact, lost.survived) == (1, False, False)
    doubled = judge(EVENTS, [stored([*EVENTS, *EVENTS[-3:]])])
    assert (doubled.duplicated, doubled.is_exact, doubled.survived) == (3, False, True)
    strange = judge(EVENTS[1:], [stored(EVENTS)])
    assert (strange.phantom, strange.survived) == (1, False)


def test_the_judge_notices_two_events_of_one_key_in_the_wrong_order() -> None:
    flown = [event for event in january() if event.key == "N384HA"][:4]
    swapped = [flown[0], flown[2], flown[1], flown[3]]
    assert judge(flown, [stored(swapped)]).out_of_order == 1
    first_counts = [flown[0], flown[1], flown[0], flown[2], flown[3]]
    assert judge(flown, [stored(first_counts)]).survived
    too_late = [flown[1], flown[0], flown[1], flown[2], flown[3]]
    assert judge(flown, [stored(too_late)]).out_of_order == 1, "a repeat does not put right what came first"


def test_a_message_carries_aircraft_and_flight_as_keys_and_the_carrier_as_tag() -> None:
    event = next(event for event in EVENTS if event.tail)
    message = message_of(event)
    assert message.properties == {"KEYS": f"{event.tail} {event.flight_id}", "TAGS": event.carrier}
    assert parse(message.body) == event
    without = next(event for event in january() if not event.tail)
    assert message_of(without).properties["KEYS"] == without.flight_id
