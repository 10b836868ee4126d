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
    "name",
    [
        "first-copy", "last-segment", "reset", "silence", "one-way", "unheard", "torn", "far-behind",
        "reading", "promises",
    ],
)  # fmt: skip
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


def test_a_slave_that_is_not_heard_has_everything_and_is_given_up_all_the_same() -> None:
    before, _ = ends("unheard")
    assert before["LGA"] == before["LGA-copy"] > 0
    assert promises("unheard") == ["1 x FLUSH_SLAVE_TIMEOUT", "1 x SLAVE_NOT_AVAILABLE", "1 x SEND_OK"]
    assert "LGA        slave left slave=10.0.0.3:50001 because silent for 20 s" in played("unheard")


def test_role_and_flush_policy_say_who_is_waited_for() -> None:
    """With a line that carries, then with one that is cut."""
    assert promises("promises") == ["1 x SEND_OK"] * 5 + [
        "1 x FLUSH_SLAVE_TIMEOUT", "1 x SEND_OK", "1 x FLUSH_SLAVE_TIMEOUT",
    ]  # fmt: skip
    took = [float(seconds) for seconds in re.findall(r"took=(\S+) s", played("promises"))]
    assert [round(seconds, 2) for seconds in took] == [0, 0, 0.03, 0.03, 0.2, 3, 0.2, 3]


def test_sends_without_a_wish_go_to_another_master_and_others_fail_with_a_sentence() -> None:
    assert "taken_by=EWR 4, LGA 4" in played("elsewhere") and "taken_by=EWR 8" in played("elsewhere")
    assert count("elsewhere", "promised=nothing because no route names the master of LGA") == 1
    assert count("elsewhere", "this broker is a slave of LGA") == 1


def test_a_reader_that_is_far_behind_is_sent_to_the_slave_until_it_has_caught_up() -> None:
    told = re.findall(r"(?:reads_from|ask_next)=(\w+)", played("suggestion"))
    assert told == ["0", "slave", "master", "100", "master"]


def test_a_slave_that_needs_what_is_deleted_is_refused_while_it_is_connected_and_afterwards() -> None:
    (end,) = ends("overtaken")
    assert end["LGA-copy"] < end["LGA"]
    assert count("overtaken", "and what came then is gone: the log begins at") == 2


def test_two_logs_of_one_length_are_taken_for_one() -> None:
    """What nothing here can see, and why chapter 10 gives every stretch of a log a number."""
    grown, joined = ends("another-past")
    assert grown["LGA"] == grown["LGA-copy"] and joined["LGA"] == joined["LGA-copy"]
    assert promises("another-past")[-1] == "1 x SEND_OK"
    assert "messages_that_differ=3" in played("another-past")


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
