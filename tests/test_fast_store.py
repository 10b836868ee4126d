"""The store's tuned parts give what their plain twins give: appending, the index, pulling, decoding.

As in `test_fast_twins.py`, beside each property stands a test that the usual case takes the fast way.
"""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chapters.ch02_commitlog.stores import BORN_HOST, STORE_HOST, log_of, whole_file
from mq.clients.subscription import build_subscription
from mq.commitlog.append import Appender
from mq.commitlog.config import MessageStoreConfig
from mq.commitlog.fastappend import FastAppender
from mq.commitlog.fastproperties import PropertyReader, is_time_to_learn
from mq.commitlog.fastrecord import decode_all
from mq.commitlog.hosts import encode_host
from mq.commitlog.legal import is_surely_legal, sure_body_bytes, why_illegal
from mq.commitlog.log import CommitLog
from mq.commitlog.message import decode_properties
from mq.commitlog.put import AppendResult, DispatchRequest, InnerMessage, Words, words_of
from mq.commitlog.record import MessageExt, RecordError, decode_record, encode_record
from mq.commitlog.segments import Segments
from mq.commitlog.store import MessageStore
from mq.consumequeue.fastindex import KeyHashes
from mq.consumequeue.fastpull import fast_get_message
from mq.consumequeue.filter import TagFilter
from mq.consumequeue.getmessage import Limits, get_message
from mq.consumequeue.index import keys_of
from mq.consumequeue.indexfile import IndexFile
from mq.consumequeue.keyhash import hash_of_key
from mq.consumequeue.store import QueueStore
from mq.sim.simulation import Simulation
from mq.system import build_broker
from tests.test_fast_twins import PROPERTIES, PROPERTY_LISTS

V6_HOST = encode_host("[::1]:40000")
# ---------------------------------------------------------------- appending

TEXTS = st.one_of(
    st.sampled_from(
        [PROPERTIES, "", "KEYS\x01k\x02CLUSTER\x01C", "TAGS\x01" + "t" * 700, "\x01v", "KEYS\x01"]
    ),
    st.text("aTAGSKEYS\x01\x02 é中", max_size=12),
    PROPERTY_LISTS.map(lambda pairs: "\x02".join(f"{name}\x01{value}" for name, value in pairs)),
)
BODIES = st.one_of(st.binary(max_size=40), st.integers(0, 2500).map(bytes))


@st.composite
def inner_messages(draw: st.DrawFn) -> Callable[[], InnerMessage]:
    """Makes one message anew each time: an append changes its sys flag."""
    topic, queue_id = draw(st.sampled_from(["T", "flights", "航班"])), draw(st.integers(0, 2))
    parts = draw(st.none() | st.lists(st.tuples(st.integers(-5, 5), BODIES, TEXTS), min_size=1, max_size=4))
    text, body = draw(TEXTS), draw(BODIES)
    hosts = draw(st.sampled_from([(BORN_HOST, STORE_HOST)] * 3 + [(V6_HOST, STORE_HOST), (V6_HOST, V6_HOST)]))
    sys_flag, times = draw(st.sampled_from([0, 1, 4, 8, 12, 0x30])), draw(st.integers(0, 3))
    has_map, has_words, code = draw(st.booleans()), draw(st.booleans()), draw(st.none() | st.just(77))

    def make() -> InnerMessage:
        single = parts is None
        properties = decode_properties(text) if has_map else None
        message = InnerMessage(
            topic,
            queue_id,
            body if single else b"",
            properties,
            text if single else "",
            1_000,
            *hosts,
            -3,
            sys_flag,
            times,
            True,
            parts,
            words_of(decode_properties(text)) if single and has_words and not has_map else None,
        )
        message.queue_entry_code = code
        message.prepared_transaction_offset = times
        return message

    return make


@given(st.lists(st.one_of(inner_messages(), st.sampled_from(["write", "undo"])), max_size=25))
@settings(max_examples=80)
def test_the_fast_appender_leaves_the_log_the_requests_and_the_results_of_the_plain_one(
    steps: list[Any],
) -> None:
    with Simulation() as sim:
        outcomes = []
        for kind in (Appender, FastAppender):
            disk = sim.node(kind.__name__).disk
            log = log_of(disk, 4096)
            log.segments.add()
            outcomes.append((_appended(kind(log, [object()]), steps), _files(log.segments.path, log, disk)))  # type: ignore[list-item]
        assert outcomes[0] == outcomes[1]


def _appended(appender: Appender, steps: Sequence[Any]) -> list[object]:
    told: list[object] = []
    for step, now_ms in zip([*steps, "write"], range(1_000, 2_000), strict=False):
        if step == "write":
            told.append([each.as_tuple() for each in appender.write_out(now_ms)])
        elif step == "undo":
            appender.undo()
        else:
            message = step()
            result = appender.append(message, now_ms)
            told.append([getattr(result, name) for name in AppendResult.__slots__])
            told.append(message.sys_flag)
        told.append(dict(appender.next_offsets))
    return told


def _files(path: Callable[[int], str], log: Any, disk: Any) -> list[object]:
    return [log.end, log.written_to, *[whole_file(disk, path(start)) for start in log.segments.starts]]


@pytest.mark.parametrize("left_bytes", range(-1, 20))
def test_at_a_segments_end_the_fast_appender_keeps_the_room_that_a_blank_mark_needs(left_bytes: int) -> None:
    """The second record would leave so many bytes of its segment."""
    sizes = [100, 4096 - 2 * 93 - 100 - left_bytes, 100]
    steps = [
        lambda size=size: InnerMessage("T", 0, bytes(size), None, "a\x01", 1_000, BORN_HOST, STORE_HOST)
        for size in sizes
    ]
    with Simulation() as sim:
        outcomes = []
        for kind in (Appender, FastAppender):
            disk = sim.node(kind.__name__).disk
            log = log_of(disk, 4096)
            outcomes.append((_appended(kind(log, []), steps), _files(log.segments.path, log, disk)))
        assert outcomes[0] == outcomes[1]


@given(inner_messages(), st.integers(1, 3000), st.integers(33_000, 36_000))
@settings(max_examples=150)
def test_a_message_that_is_surely_legal_is_legal(
    make: Callable[[], InnerMessage], most_body_bytes: int, segment_bytes: int
) -> None:
    config = MessageStoreConfig(max_message_size=most_body_bytes, mapped_file_size_commit_log=segment_bytes)
    if is_surely_legal(make(), sure_body_bytes(config)):
        assert why_illegal(make(), config) is None


@pytest.mark.parametrize(("topic", "text"), [("航" * 60, ""), ("T", "a\x01" + "中" * 11_000)])
def test_characters_are_counted_as_the_bytes_that_they_may_take(topic: str, text: str) -> None:
    for parts in (None, [(0, b"", text)]):
        message = InnerMessage(topic, 0, b"", None, text, 1, BORN_HOST, STORE_HOST, parts=parts)
        assert why_illegal(message, MessageStoreConfig()) is not None
        assert not is_surely_legal(message, sure_body_bytes(MessageStoreConfig()))


@pytest.mark.parametrize("is_batch", [False, True])
def test_the_longest_body_that_surely_fits_fits_with_the_longest_of_everything_else(is_batch: bool) -> None:
    config = MessageStoreConfig(mapped_file_size_commit_log=40_000)
    most, text = sure_body_bytes(config), "a" * (32_767 // 4)
    for body_bytes, is_sure in ((most, True), (most + 1, False)):
        parts = [(0, bytes(body_bytes - 1), text), (0, b"1", text)] if is_batch else None
        body = b"" if is_batch else bytes(body_bytes)
        message = InnerMessage("t" * 31, 0, body, None, text, 1, BORN_HOST, STORE_HOST, parts=parts)
        assert is_surely_legal(message, most) is is_sure
        assert not is_sure or why_illegal(message, config) is None
    with Simulation() as sim:
        log = CommitLog(Segments(sim.node("b").disk, "commitlog", 40_000))
        worst = InnerMessage("航" * 42, 0, bytes(most), None, "a" * 32_767, 1, b"1" * 20, b"2" * 20)
        assert Appender(log, []).append(worst, 1).size <= 40_000 - 8


def test_the_usual_message_is_surely_legal() -> None:
    message = InnerMessage("flights", 0, bytes(100), None, PROPERTIES, 1, BORN_HOST, STORE_HOST)
    assert is_surely_legal(message, sure_body_bytes(MessageStoreConfig()))


@given(st.lists(TEXTS, max_size=40))
@settings(max_examples=150)
def test_the_words_of_a_property_text_are_those_of_its_map(texts: list[str]) -> None:
    reader = PropertyReader()
    for text in texts * 9:  # so often that each has been learned
        assert reader.read(text) == words_of(decode_properties(text))


@pytest.mark.parametrize("odd", ["order-1\x01of 2", "order-1\x02", "", "order-1\x02KEYS\x01order-2"])
def test_a_text_with_the_names_that_were_learned_and_an_odd_value_is_read_as_its_map(odd: str) -> None:
    reader = PropertyReader()
    for _ in range(8):
        reader.read(PROPERTIES)
    text = PROPERTIES.replace("order-1", odd)
    assert reader.read(text) == words_of(decode_properties(text))


def test_a_property_text_is_learned_and_the_next_one_with_its_names_is_not_parsed() -> None:
    reader = PropertyReader()
    for _ in range(8):
        reader.read(PROPERTIES)
    assert reader.read(PROPERTIES.replace("order-1", "other 2")) == (
        "TagA",
        "other 2",
        "7F0000012FC02DC9FE70000000000001",
    )
    assert reader._misses == 8
    assert [misses for misses in range(10_000) if is_time_to_learn(misses)] == [
        8,
        16,
        32,
        64,
        128,
        256,
        512,
        1024,
        2048,
        4096,
        8192,
    ]


def test_a_hook_that_changes_the_properties_changes_what_derived_stores_are_told() -> None:
    words: Words = ("TagA", "order-1", "7F")
    message = InnerMessage("T", 0, b"", None, PROPERTIES, 1, BORN_HOST, STORE_HOST, words=words)
    assert message.known_words == words, "nobody has parsed the text"
    message.properties["TAGS"] = "TagB"
    assert message.known_words == ("TagB", "order-1", "7F0000012FC02DC9FE70000000000001")
    message.properties = {"KEYS": "only"}
    assert words_of(message.properties) == message.known_words


# ---------------------------------------------------------------- the index

KEYS = st.one_of(
    st.text(max_size=12),
    st.text("ab ", max_size=6),
    st.sampled_from(["7F0000012FC02DC9FE70000000000001", "😀k", "kk"]),
)
REQUESTS = st.builds(
    lambda topic, keys, uniq_key, sys_flag, gap_ms: (topic, keys, uniq_key, sys_flag, gap_ms),
    st.sampled_from(["T", "flights", "航班"]),
    KEYS,
    st.none() | KEYS,
    st.sampled_from([0, 4, 8, 12]),
    st.sampled_from([0, 1, 999, 10**13, -(10**7)]),
)


def requests_of(rows: Sequence[tuple[str, str, str | None, int, int]]) -> list[DispatchRequest]:
    """Requests in the order of the log."""
    made, stored_ms = [], 1_700_000_000_000
    for number, (topic, keys, uniq_key, sys_flag, gap_ms) in enumerate(rows, start=1):
        stored_ms += gap_ms
        made.append(
            DispatchRequest(topic, 0, number * 100, 100, 0, stored_ms, number, keys, uniq_key, sys_flag, "")
        )
    return made


@given(st.lists(st.tuples(st.sampled_from(["", "T", "航班", "t" * 250]), KEYS), max_size=30))
@settings(max_examples=100)
def test_a_remembered_hash_is_the_plain_one(pairs: list[tuple[str, str]]) -> None:
    hashes = KeyHashes()
    for topic, key in [*pairs, *pairs]:
        assert remembered(hashes, topic, key) == [hash_of_key(topic, key)] * bool(key)


def remembered(hashes: KeyHashes, topic: str, key: str) -> list[int]:
    """The hashes of one message that has only this key."""
    request = DispatchRequest(topic, 0, 0, 100, 0, 0, 0, "", key, 0, "")
    return [key_hash for key_hash, _, _ in hashes.entries_of([request])]


def test_keys_that_share_their_beginning_are_hashed_by_two_look_ups() -> None:
    hashes = KeyHashes()
    for number in range(100, 1000):
        assert remembered(hashes, "T", f"order-{number}") == [hash_of_key("T", f"order-{number}")]
    assert (len(hashes._heads["T"]), len(hashes._tails)) == (1, 900)


def test_what_is_remembered_of_keys_is_bounded_over_all_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mq.consumequeue.fastindex.MAX_HEADS", 4)
    monkeypatch.setattr("mq.consumequeue.fastindex.MAX_TAILS", 5)
    hashes = KeyHashes()
    for number in range(60):
        topic, key = f"T{number % 3}", f"{number:03}-{number:03}"
        assert remembered(hashes, topic, key) == [hash_of_key(topic, key)]
        heads = sum(len(each) for each in hashes._heads.values())
        assert heads == hashes._heads_count <= 4 and len(hashes._tails) <= 5


@given(st.lists(REQUESTS, max_size=12))
@settings(max_examples=100)
def test_the_entries_of_a_batch_are_those_of_its_messages(rows: list[Any]) -> None:
    requests = requests_of(rows)
    plain = [
        (hash_of_key(each.topic, key), each.physical_offset, each.store_timestamp_ms)
        for each in requests
        for key in keys_of(each)
    ]
    assert KeyHashes().entries_of(requests) == plain


@given(st.lists(REQUESTS, max_size=12), st.lists(st.integers(1, 5), min_size=1, max_size=4), st.booleans())
@settings(max_examples=80)
def test_an_index_file_that_is_given_batches_is_the_one_that_is_given_keys(
    rows: list[Any], cuts: list[int], follows: bool
) -> None:
    entries = KeyHashes().entries_of(requests_of(rows))
    files = []
    with Simulation() as sim:
        for name in ("plain", "fast"):
            file = IndexFile(sim.node(name).disk, "index/1", 7, 100)
            if follows:
                before = IndexFile(sim.node(name).disk, "index/0", 7, 100)
                before.put(1, 50, 1_699_999_999_000)
                file.follow(before)
            if name == "plain":
                for entry in entries:
                    file.put(*entry)
            else:
                left, sizes = entries, cuts * (len(entries) + 1)
                for size in sizes:
                    file.put_all(left[:size])
                    left = left[size:]
            file.write()
            files.append((whole_file(sim.node(name).disk, "index/1"), file.count, file.end_physical_offset))
    assert files[0] == files[1]


# ---------------------------------------------------------------- reading


def decoded(data: bytes) -> object:
    """What the plain twin makes of records one behind the other."""
    found, position = [], 0
    try:
        while position < len(data):
            found.append(decode_record(data, position))
            position += found[-1].size
    except RecordError as error:
        return str(error)
    return [everything(each) for each in found]


def everything(message: MessageExt) -> dict[str, object]:
    """All fields of a message."""
    return {name: getattr(message, name) for name in MessageExt.__slots__ if name != "_properties"}


@st.composite
def record_bytes(draw: st.DrawFn) -> bytes:
    """Records, some with an IPv6 host, of which some bytes may have changed or be lost."""
    data = b""
    for _ in range(draw(st.integers(0, 4))):
        hosts = draw(st.sampled_from([(BORN_HOST, STORE_HOST)] * 3 + [(V6_HOST, STORE_HOST)]))
        topic = draw(st.sampled_from(["T", "航班"])).encode()
        body, text = draw(st.binary(max_size=20)), draw(TEXTS).encode()
        data += encode_record(topic, body, text, 1, 2, len(data), 3, 0, 4, hosts[0], 5, hosts[1], 6, 7)
    for _ in range(draw(st.integers(0, 3)) if data else 0):
        at = draw(st.integers(0, len(data) - 1))
        data = data[:at] + draw(st.binary(min_size=1, max_size=4)) + data[at + 1 :]
    return data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data


@given(record_bytes())
@settings(max_examples=300)
def test_records_decoded_in_a_row_are_those_decoded_one_by_one(data: bytes) -> None:
    try:
        fast: object = [everything(each) for each in decode_all(data)]
    except RecordError as error:
        fast = str(error)
    assert fast == decoded(data)


class Filled:
    """A broker of chapter 3 with messages in three queues, some of them large, over several segments."""

    def __init__(self, sim: Simulation, sizes: list[tuple[int, int, str]]) -> None:
        self.broker = build_broker(sim.node("broker"), {"mappedFileSizeCommitLog": "65536"}, chapter=3)
        sim.run(sim.on("broker", self.broker.start()), timeout_s=60)
        self.store = self.broker.part(MessageStore)
        self.queues = self.broker.part(QueueStore)
        for queue_id, size, tag in sizes:
            text = f"TAGS\x01{tag}"
            message = InnerMessage("T", queue_id, bytes(size), None, text, 1_000, BORN_HOST, STORE_HOST)
            self.store.put(message, lambda _: None)
        self.store.write_out()


PULLS = st.tuples(
    st.integers(0, 2),
    st.integers(-2, 70),
    st.integers(-1, 40),
    st.sampled_from(["*", "A", "A || B", "C"]),
    st.integers(0, 20_000),
    st.sampled_from([400, 30_000, 262_144]),
    st.integers(1, 40),
)


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from([0, 100, 300, 9_000, 30_000]), st.sampled_from("AB")),
        max_size=60,
    ),
    st.lists(PULLS, min_size=1, max_size=10),
    st.integers(0, 3),
)
@settings(max_examples=60)
def test_a_pull_near_the_end_of_the_log_gets_what_the_plain_one_gets(
    sizes: list[tuple[int, int, str]], pulls: list[tuple[int, int, int, str, int, int, int]], lost: int
) -> None:
    with Simulation() as sim:
        filled = Filled(sim, sizes)
        for _ in range(min(lost, len(filled.store.log.segments.starts) - 1)):
            filled.store.log.segments.delete_first()
        for queue_id, queue_offset, most, expression, memory_bytes, most_bytes, most_in_memory in pulls:
            limits = Limits(memory_bytes, most_bytes, most_in_memory)
            wanted = TagFilter(build_subscription("T", expression))
            asked = filled.queues.open("T", queue_id), filled.store, queue_offset, most, wanted, limits
            assert fast_get_message(*asked) == get_message(*asked)


def test_every_limit_of_a_pull_ends_both_ways_at_the_same_message() -> None:
    sizes = [(number % 2, (0, 300, 5_000)[number % 3], "AB"[number % 5 == 0]) for number in range(60)]
    counts = set()
    with Simulation() as sim:
        filled = Filled(sim, sizes)
        for most_bytes, most, expression in product((1, 500, 900, 12_000), (1, 2, 30), ("*", "B")):
            wanted, limits = TagFilter(build_subscription("T", expression)), Limits(1 << 20, most_bytes, 9)
            for queue_offset in range(30):
                asked = filled.queues.open("T", 1), filled.store, queue_offset, most, wanted, limits
                found = fast_get_message(*asked)
                assert found == get_message(*asked)
                counts.add(len(found.records))
    assert counts >= {1, 2, 3, 4, 5, 6}, "limits of bytes end pulls here, too"


def test_the_messages_of_one_pull_are_read_by_the_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty-two messages of one queue out of eight: a handful of reads."""
    with Simulation() as sim:
        filled = Filled(sim, [(number % 8, 100, "A") for number in range(512)])
        reads: list[int] = []
        really_read = filled.store.log.read

        def read(physical_offset: int, size: int) -> bytes:
            reads.append(size)
            return really_read(physical_offset, size)

        monkeypatch.setattr(filled.store.log, "read", read)
        wanted = TagFilter(build_subscription("T", "*"))
        result = fast_get_message(
            filled.queues.open("T", 3), filled.store, 10, 32, wanted, Limits(memory_bytes=1 << 30)
        )
        assert len(result.records) == 32
        assert len(reads) <= 4
