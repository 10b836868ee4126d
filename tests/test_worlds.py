"""The comparison of worlds: what counts as agreeing, and what is said when they do not."""

import sys

from tests.worlds import Answer, World, disagreements, find_pythons, run

GOOD = {"calm 1": "aaa", "storm 1": "bbb"}


def answers(*digests: dict[str, str]) -> list[Answer]:
    return [Answer(f"world {number}", "0", each) for number, each in enumerate(digests)]


def test_worlds_that_print_the_same_digests_agree() -> None:
    assert disagreements(answers(GOOD, GOOD, dict(GOOD))) == []


def test_a_world_whose_journal_differs_is_named_with_the_scenario() -> None:
    assert disagreements(answers(GOOD, {"calm 1": "aaa", "storm 1": "ccc"}, GOOD)) == [
        "world 1, hash seed 0 differs in 1 of 2 journals, first in 'storm 1': ccc, where most give bbb"
    ]


def test_a_world_that_leaves_a_scenario_out_does_not_agree() -> None:
    assert disagreements(answers(GOOD, {"calm 1": "aaa"}, GOOD)) == [
        "world 1, hash seed 0 differs in 1 of 2 journals, first in 'storm 1': nothing, where most give bbb"
    ]


def test_a_script_that_stops_half_way_does_not_agree() -> None:
    half = World("half", (sys.executable, "-c", "print('calm 1 aaa')"))
    assert run(half, "0").trouble == "stopped with exit code 0:\ncalm 1 aaa"


def test_the_python_that_runs_this_is_a_world() -> None:
    assert find_pythons()[0].command[0] == sys.executable
