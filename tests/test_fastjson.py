"""fastjson's dialect: every JSON as JSON reads it, the maps of Java, and a sentence for all the rest."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mq.routing.bodies import BodyError, read_object
from mq.wire.fastjson import MAX_DEPTH, loads

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
LAYOUTS = st.sampled_from([{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False}])


@given(VALUES, LAYOUTS)
def test_plain_json_is_read_as_json_reads_it(value: Any, layout: dict[str, Any]) -> None:
    """Every value in every layout, types and order of members included."""
    text = json.dumps(value, **layout)
    assert repr(loads(text)) == repr(json.loads(text))


@given(VALUES, st.randoms(use_true_random=False))
def test_damaged_json_is_refused_unless_a_key_of_java_makes_sense_of_it(value: Any, draw: Any) -> None:
    """Whatever JSON takes is taken, with the same value; what it refuses is refused, but for bare keys."""
    text = list(json.dumps(value))
    for _ in range(draw.choice((1, 2))):
        at = draw.randrange(len(text))
        text[at : at + draw.choice((0, 1))] = draw.choice('{}[]:,"\\01-. \ntn')
    damaged = "".join(text)
    try:
        plain = json.loads(damaged)
    except ValueError:
        plain = ValueError
    try:
        found = loads(damaged)
    except ValueError:
        assert plain is ValueError
        return
    assert repr(found) == repr(plain) if plain is not ValueError else "{" in damaged


def java(value: Any) -> str:
    """As fastjson writes a map: keys that are numbers or maps stand without quotes."""
    if isinstance(value, list):
        return f"[{','.join(map(java, value))}]"
    if not isinstance(value, dict):
        return json.dumps(value)
    return "{" + ",".join(f"{_java_key(name)}:{java(each)}" for name, each in value.items()) + "}"


def _java_key(name: Any) -> str:
    return java(dict(name)) if isinstance(name, tuple) else json.dumps(name)


QUEUES = st.fixed_dictionaries(
    {"brokerName": st.text(), "queueId": st.integers(0, 2**31 - 1), "topic": st.text()}
).map(lambda queue: tuple(queue.items()))


@given(
    st.dictionaries(st.integers(-(2**63), 2**63 - 1) | st.text().map(lambda text: f"t{text}"), SCALARS),
    st.dictionaries(QUEUES, SCALARS),
)
def test_maps_of_java_come_back_with_keys_of_text(numbers: dict[Any, Any], queues: dict[Any, Any]) -> None:
    """A number as it stood; a queue as compact JSON, which gives it back."""
    told = loads(java({"numbers": numbers, "queues": queues}))
    assert told["numbers"] == {str(name): value for name, value in numbers.items()}
    assert {tuple(loads(name).items()): value for name, value in told["queues"].items()} == queues


def test_the_bodies_that_4_9_8_writes_are_read() -> None:
    """A route for old clients, a table of offsets, the positions of a topic."""
    assert read_object(b'{"brokerAddrs":{0:"127.0.0.1:10911",1:"127.0.0.1:2"}}', "a route") == {
        "brokerAddrs": {"0": "127.0.0.1:10911", "1": "127.0.0.1:2"}
    }
    assert read_object('{"offsetTable":{"T@CG":{0:5,1:7\n\t\t}}}', "offsets") == {
        "offsetTable": {"T@CG": {"0": 5, "1": 7}}
    }
    body = b'{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"t"}:{"maxOffset":5}}}'
    assert read_object(body, "positions") == {
        "offsetTable": {'{"brokerName":"b","queueId":0,"topic":"t"}': {"maxOffset": 5}}
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "the end where a value should be"),
        ("{", "the end where a key should be"),
        ("{a:1}", "'a:1}' at 1 where a key should be"),
        ("{'a':1}", "where a key should be"),
        ("{01:2}", "'1:2}' at 2 where ':' should follow a key"),
        ("{1.5:2}", "'.5:2}' at 2 where ':' should follow a key"),
        ("{[1]:2}", "'[1]:2}' at 1 where a key should be"),
        ('{"a" 1}', "'1}' at 5 where ':' should follow a key"),
        ('{"a":1 "b":2}', "where ',' or '}' should follow a member"),
        ('{"a":1,}', "'}' at 7 where a key should be"),
        ("[1 2]", "'2]' at 3 where ',' or ']' should follow an element"),
        ("[1,]", "']' at 3 where a value should be"),
        ("{} x", "'x' at 3 where the text should end"),
        ('{"a":NaN}', "NaN is no JSON value"),
        ('{0:"', "where a value should be"),
        ("{99999999999999999999:1}", "where ':' should follow a key"),
        ("[" * (MAX_DEPTH + 1), f"nested deeper than {MAX_DEPTH} at {MAX_DEPTH}"),
        ('{"a":' * 1000, f"nested deeper than {MAX_DEPTH} at {5 * MAX_DEPTH}"),
        ("{" * 1000, "at 2 where a key should be"),
        ('{{"a":{{}:1}}:1}', "at 7 where a key should be"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, sentence: str) -> None:
    """And it becomes the remark of an answer with code 1."""
    with pytest.raises(ValueError, match=r"\S") as raised:
        loads(text)
    assert sentence in str(raised.value)
    with pytest.raises(BodyError) as refused:
        read_object(text, "a body")
    assert refused.value.remark.startswith("a body is not JSON: ")


def test_depth_up_to_the_limit_is_read() -> None:
    """In lists, in objects, and inside of a key."""
    for opened, closed in (("[", "]"), ('{"a":', "}"), ("{0:", "}")):
        assert loads(opened * MAX_DEPTH + "1" + closed * MAX_DEPTH) is not None
        lists = "[" * (MAX_DEPTH - 2) + "]" * (MAX_DEPTH - 2)
        assert list(loads(f'{{{{"a":{lists}}}:1}}')) == [f'{{"a":{lists}}}']


@pytest.mark.parametrize("piece", ['{0:"a",', '"\\"', "[[],", '{"a":"', "{1:", "0", "\\", '{0:"x\\\\'])
def test_time_grows_with_the_length_and_no_faster(piece: str) -> None:
    """Eight times the text may take up to thirty times as long, as clocks go, but not sixty-four times."""
    took = []
    for count in (4_000, 32_000):
        text = piece * count
        began = time.process_time()
        for _ in range(3):
            with pytest.raises(ValueError):
                loads(text)
        took.append(time.process_time() - began)
    assert took[1] < max(30 * took[0], 0.3)
