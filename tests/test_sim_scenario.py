"""A scenario is one string: it is read back as it was written, and what is no scenario is told why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mq.sim.scenario import CALLS, KINDS, NODE_TARGET, Fault, Scenario, ScenarioError
from mq.sim.stories import STORIES, story_of

MACHINES = st.sampled_from(["a", "b", "n1", "broker-a", "c_2"])
NUMBERS = {"ms": 0, "jitter_ms": 0, "room_bytes": 0, "nth": 1, "calls": 1, "by_ms": -(10**9)}
WORDS = {"death": ("process", "power", "torn"), "when": ("before", "after"), "call": CALLS}


@st.composite
def faults(draw: st.DrawFn) -> Fault:
    name = draw(st.sampled_from(list(KINDS)))
    kind = KINDS[name]
    target = draw(MACHINES)
    if kind.target is not NODE_TARGET:
        target += draw(st.sampled_from([">", "<>"])) + draw(st.one_of(MACHINES, st.just("*")))
    values = [
        draw(st.sampled_from(WORDS[value.name]))
        if value.name in WORDS
        else draw(st.integers(NUMBERS[value.name], 10**9))
        for value in kind.values
    ]
    return Fault.of(draw(st.integers(0, 10**6)), name, target, *values)


@given(
    st.sampled_from(list(STORIES)),
    st.integers(0, 2**40),
    st.one_of(st.none(), st.lists(faults(), max_size=6).map(tuple)),
)
def test_a_scenario_is_read_back_from_its_text(
    name: str, seed: int, chosen: tuple[Fault, ...] | None
) -> None:
    scenario = Scenario(name, seed, chosen)
    assert Scenario.parse(str(scenario)) == scenario
    assert str(Scenario.parse(str(scenario))) == str(scenario)


@given(st.text(alphabet="abk1:=/<>* .-+seedpower", max_size=40))
def test_any_other_text_is_refused_with_a_sentence_or_means_one_scenario(text: str) -> None:
    try:
        scenario = Scenario.parse(text)
    except ScenarioError as error:
        assert str(error)
    else:
        assert Scenario.parse(str(scenario)) == scenario


def test_what_is_left_out_is_filled_in_and_faults_are_sorted_by_time() -> None:
    scenario = Scenario.parse("lone-sync 3000:restart=a 1200:kill=a 5:crash=a 7:delay=a>b/40 9:fail=a")
    assert str(scenario) == (
        "lone-sync seed=0 5:crash=a/process/before/1 7:delay=a>b/40/0 9:fail=a/sync/1 1200:kill=a/process "
        "3000:restart=a"
    )


def test_no_faults_means_the_storys_own_and_calm_means_none() -> None:
    own, none = Scenario.parse("mixed seed=7"), Scenario.parse("mixed seed=7 calm")
    assert own.faults is None and none.faults == ()
    assert story_of("mixed").faults_of(7) == story_of("mixed").faults_of(7) != story_of("mixed").faults_of(8)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "'' cannot be a story's name: a scenario is `name seed=7 1200:kill=a`"),
        ("mixed seed=x", "'seed=x': a seed is a whole number from 0 on"),
        ("mixed kill=a", "'kill=a' is no fault: one looks like 1200:kill=a/power or 5000:cut=a>b"),
        ("mixed 1:kil=a", "'1:kil=a': there is no fault 'kil'; did you mean 'kill'?"),
        ("mixed 1:kill=a>b", "'1:kill=a>b': kill needs a machine, such as a, and 'a>b' is none"),
        ("mixed 1:cut=a", "'1:cut=a': cut needs a way, such as a>b or a<>b, and 'a' is none"),
        ("mixed 1:kill=a/pow", "'1:kill=a/pow': death must be one of process, power, torn, and 'pow' is not"),
        ("mixed 1:slow=a", "'1:slow=a': /ms is missing"),
        ("mixed 1:mend=a/2", "'1:mend=a/2' has 1 values behind its target; it takes none"),
        (
            "mixed 1:slow=a/-2",
            "'1:slow=a/-2': ms must be a whole number from 0 to 1000000000, and '-2' is not",
        ),
    ],
)
def test_what_is_no_scenario_is_told_which_word_and_why(text: str, sentence: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        Scenario.parse(text)
    assert str(refused.value) == sentence


def test_a_story_that_is_not_there_is_told_which_are() -> None:
    with pytest.raises(ScenarioError, match="there is no story 'mixd'; there are lone-async, lone-sync"):
        story_of("mixd")


@given(st.integers(0, 10**6))
def test_the_faults_that_any_seed_draws_can_be_written_as_text(seed: int) -> None:
    for story in STORIES.values():
        scenario = Scenario(story.name, seed, story.faults_of(seed))
        assert Scenario.parse(str(scenario)) == scenario
