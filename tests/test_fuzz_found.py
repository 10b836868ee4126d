"""What the fuzzer has found: each fault is a test, with the smallest input that shows it."""

from __future__ import annotations

import json

import pytest

from mq.commitlog.hosts import decode_host, decode_message_id, encode_host, offset_message_id
from mq.commitlog.record import decode_record
from mq.consumequeue.client import _number_in
from mq.routing.bodies import BodyError, name_of, read_object
from mq.routing.route import TopicRouteData
from mq.wire import fastjson
from mq.wire.command import RemotingCommand
from mq.wire.errors import HeaderError
from tests.fuzz_decoders import sample_records
from tests.fuzz_findings import SLOW_S, Notes


@pytest.mark.parametrize("count", [9_000, 20_000])
def test_a_body_of_open_quotes_is_refused_as_fast_as_it_is_read(count: int) -> None:
    """18 KB of `\\"\\"\\"…` kept a broker busy for 2.4 s, and the time grew with the square of the length.

    A regular expression looked for bare keys from every quote to the end of the text.
    """
    notes = Notes("found", 0)
    with notes.one(0, b""), pytest.raises(BodyError):
        read_object(b'{"a":' + b'"\\' * count, "a body")
    with notes.one(1, b""), pytest.raises(BodyError):
        read_object(b'{"a":' + b'\\"' * count, "a body")
    assert notes.faults == []
    assert notes.slowest_s < SLOW_S


def test_an_enum_of_five_thousand_digits_is_a_body_error() -> None:
    """int() refuses so long a text with a ValueError that nobody expected: the peer was told about Python."""
    with pytest.raises(BodyError, match="it must be one of A, B"):
        name_of({"kind": "9" * 5000}, "kind", ("A", "B"), "A")


def test_an_enum_is_still_taken_by_its_ordinal() -> None:
    """C++ clients send numbers; a number with a sign or another script's digits is none."""
    assert [name_of({"k": told}, "k", ("A", "B"), "A") for told in (1, "1", "B", None)] == [
        "B",
        "B",
        "B",
        "A",
    ]
    for told in ("2", "-1", "\u0661", "01"):
        with pytest.raises(BodyError):
            name_of({"k": told}, "k", ("A", "B"), "A")


@pytest.mark.parametrize("body", [b'{"a":"\\ud800"}', b'{"\\udc00\\ud800":1}', b'{0:"\\uDFFF"}'])
def test_a_body_with_half_a_surrogate_pair_is_refused(body: bytes) -> None:
    """It was taken, and came back from the NameServer as a question mark: no name that was registered."""
    with pytest.raises(BodyError, match="surrogates"):
        read_object(body, "a registration")


def test_a_whole_surrogate_pair_is_one_character() -> None:
    """As Java writes what lies beyond 16 bits."""
    assert read_object(b'{"a":"\\ud835\\udcb3"}', "a body") == {"a": "\U0001d4b3"}


@pytest.mark.parametrize("port", [-1, -(1 << 31), 0, 10911, (1 << 31) - 1])
def test_a_record_with_any_port_has_a_message_id(port: int) -> None:
    """Nothing guards a record's hosts: a damaged port below zero gave a message that could not be shown."""
    data = bytearray(sample_records()[0])
    data[68:72] = port.to_bytes(4, "big", signed=True)
    found = decode_record(bytes(data))
    assert found.store_host == f"10.0.0.9:{port}"
    assert decode_message_id(found.msg_id) == (found.store_host, found.physical_offset)


def test_a_negative_physical_offset_has_a_message_id_too() -> None:
    """It comes from damage, or from a peer's answer, and goes the way it came."""
    message_id = offset_message_id(encode_host("10.0.0.9:1"), -5)
    assert decode_message_id(message_id) == ("10.0.0.9:1", -5)
    assert decode_host(encode_host("10.0.0.9:-7", any_port=True)) == "10.0.0.9:-7"


@pytest.mark.parametrize("told", ["/", "", "9" * 5000, "9223372036854775808", "1.5"])
def test_an_answer_without_a_number_where_one_belongs_is_an_mq_error(told: str) -> None:
    """A client raised Python's ValueError at its application."""
    with pytest.raises(HeaderError, match="offset is"):
        _number_in(RemotingCommand(0, {"offset": told}), "offset")


@pytest.mark.parametrize("count", [65_536, 1 << 31, -1])
def test_a_route_with_more_queues_than_a_topic_can_have_is_refused(count: int) -> None:
    """A client makes an object for each queue: two billion were a MemoryError in every client."""
    queue = {"brokerName": "b", "perm": 6, "readQueueNums": 4, "writeQueueNums": count}
    with pytest.raises(BodyError, match=f"writeQueueNums is {count}"):
        TopicRouteData.from_json(json.dumps({"queueDatas": [queue]}).encode())


def test_what_is_nested_too_deep_is_an_error_of_its_own() -> None:
    """No RecursionError: the reader counts."""
    with pytest.raises(ValueError, match="nested deeper than 100 at 100"):
        fastjson.loads("[" * 100_000)
