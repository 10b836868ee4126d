"""The corner cases end as their titles say, whatever the journal's lines look like."""

import re

import pytest

from chapters.ch04_replication.scenes import played


def ends(name: str) -> list[dict[str, int]]:
    """Every line that says where the logs end."""
    lines = [line for line in played(name).splitlines() if " driver     ends " in line]
    return [{who: int(end) for who, end in re.findall(r"(\S+)=(\d+)", line)} for line in lines]


def promises(name: str) -> list[str]:
    """What the desk was promised, send by send."""
    return re.findall(r"promised=(.*?) took", played(name))


def count(name: str, words: str) -> int:
    return played(name).count(words)


@pytest.mark.parametrize(
    "name", ["first-copy", "last-segment", "reset", "silence", "one-way", "torn", "far-behind", "reading"]
)
def test_in_the_end_both_logs_are_equally_long(name: str) -> None:
    last = ends(name)[-1]
    assert last["LGA"] == last["LGA-copy"] > 0


def test_a_late_slave_is_sent_the_last_segment_and_no_older_one() -> None:
    assert "slaves_first_byte=65536" in played("last-segment")


def test_a_reset_is_followed_by_a_report_of_what_is_there() -> None:
    assert count("reset", "slave joined") == 2
    assert promises("reset") == ["5 x SEND_OK"] * 2, "and nobody noticed"


def test_silence_is_first_a_timeout_then_no_slave_then_healed() -> None:
    assert promises("silence") == [
        "3 x SEND_OK", "2 x FLUSH_SLAVE_TIMEOUT", "2 x SLAVE_NOT_AVAILABLE", "2 x SEND_OK",
    ]  # fmt: skip
    assert count("silence", "because silent for 20 s") == 2, "each end found out by itself"


def test_a_slave_that_hears_nothing_goes_first() -> None:
    assert "LGA-copy   master left because silent for 20 s" in played("one-way")


def test_half_a_record_is_cut() -> None:
    assert count("torn", "log cut") == 1


def test_a_slave_that_is_ahead_stays_refused_when_the_master_has_grown_past_it() -> None:
    before, lost, after = ends("ahead")
    assert before["LGA"] == before["LGA-copy"] > lost["LGA"]
    assert after["LGA"] > after["LGA-copy"] == before["LGA-copy"]
    assert count("ahead", "slave refused") >= 2


def test_an_empty_master_empties_nobody() -> None:
    (end,) = ends("empty-master")
    assert end["LGA"] < end["LGA-copy"]


def test_two_slaves_are_as_good_as_the_better_one() -> None:
    (end,) = ends("two-slaves")
    assert end["LGA"] == end["LGA-third"] > end["LGA-copy"]


def test_segments_of_another_size_are_refused_once_each_five_seconds() -> None:
    assert count("other-segments", "no segment of 20480 bytes begins there") == 2
