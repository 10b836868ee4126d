"""The key index: its bytes, its chains, and that it equals one made again from the log."""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chapters.ch03_consumequeue.logs import PaperLog
from mq.commitlog.javahash import java_hash
from mq.commitlog.store import ABORT
from mq.consumequeue.index import IndexService, file_name, hash_of_key, hash_on, keys_of, positive
from mq.runtime.disk import Disk
from mq.runtime.errors import StoreError
from mq.runtime.node import Node
from mq.sim.simulation import Simulation

SLOTS, ENTRIES = 7, 20
ALWAYS = (0, 1 << 62)


def index_on(node: Node, slots: int = SLOTS, entries: int = ENTRIES) -> IndexService:
    index = IndexService(node, slots, entries)
    index.load()
    return index


def flushed(sim: Simulation, index: IndexService) -> int | None:
    result = sim.run(lambda: index.flush(True))
    assert result is None or isinstance(result, int)
    return result


def contents(disk: Disk) -> list[bytes]:
    """The files' bytes. Names are times and differ."""
    found = []
    for name in disk.list("index"):
        file = disk.open(f"index/{name}")
        found.append(file.read_at(0, file.length()))
        file.close()
    return found


def log_of(count: int, seed: int = 1, keyless: int = 0) -> PaperLog:
    log, draw = PaperLog(), random.Random(seed)
    for number in range(count):
        keys = " ".join(f"k{draw.randrange(9)}" for _ in range(draw.randrange(3)))
        log.put(keys=keys, uniq_key=f"ID{number:06}" if number % 3 else "", store_ms=10_000 + 700 * number)
    for _ in range(keyless):
        log.put(store_ms=10_000 + 700 * count)
    return log


def test_a_file_lies_on_disk_as_rocketmq_lays_it() -> None:
    with Simulation(seed=1) as sim:
        node, log = sim.node("a"), PaperLog()
        log.put("T", keys="k1", store_ms=5_000)
        log.put("T", keys="k1", store_ms=7_999)
        index = index_on(node)
        index.dispatch(log.requests)
        assert flushed(sim, index) == 7_999
        (data,) = contents(node.disk)
        second = log.requests[1].physical_offset
        assert hash_of_key("T", "k1") == 2539445
        assert len(data) == 40 + 4 * SLOTS + 20 * ENTRIES
        assert struct.unpack_from(">qqqqii", data) == (5_000, 7_999, 0, second, 1, 3)
        slots = struct.unpack_from(f">{SLOTS}i", data, 40)
        assert slots == tuple(2 if slot == 2539445 % SLOTS else 0 for slot in range(SLOTS))
        entries = 40 + 4 * SLOTS
        assert data[entries : entries + 20] == bytes(20), "entry 0 is not used"
        assert struct.unpack_from(">iqii", data, entries + 20) == (2539445, 0, 0, 0)
        assert struct.unpack_from(">iqii", data, entries + 40) == (2539445, second, 2, 1)


def test_a_second_file_counts_its_first_seconds_from_the_end_of_the_one_before() -> None:
    with Simulation(seed=1) as sim:
        node, log = sim.node("a"), PaperLog()
        for store_ms in (5_000, 9_999, 15_500):
            log.put("T", keys="k1", store_ms=store_ms)
        index = index_on(node, entries=2)
        index.dispatch(log.requests)
        flushed(sim, index)
        second = contents(node.disk)[1]
        begin = log.requests[1].physical_offset
        assert struct.unpack_from(">qqqqii", second) == (9_999, 9_999, begin, begin, 1, 2)
        assert struct.unpack_from(">iqii", second, 40 + 4 * SLOTS + 20) == (2539445, begin, 4, 0)


def test_the_real_numbers_make_a_sparse_file_of_420_000_040_bytes() -> None:
    with Simulation(seed=1) as sim:
        node, log = sim.node("a"), log_of(5)
        index = IndexService(node)
        index.dispatch(log.requests)
        flushed(sim, index)
        (name,) = node.disk.list("index")
        assert node.disk.stat(f"index/{name}").length_bytes == 420_000_040


def test_a_key_is_hashed_as_java_does_and_made_positive() -> None:
    for text in ("", "T#k1", "中", "AaTopic#BB", "\U0001f6eb#x", "é" * 20, "x" * 40):
        assert hash_on(0, text) == java_hash(text) & 0xFFFFFFFF
        for cut in range(len(text)):
            assert hash_on(hash_on(0, text[:cut]), text[cut:]) == hash_on(0, text)
    assert positive(java_hash("AaTopic#BB") & 0xFFFFFFFF) == 10606476
    assert [positive(value) for value in (5, 0xFFFFFFFF, 0x80000000)] == [5, 1, 0]


def test_two_keys_with_one_hash_are_found_together() -> None:
    """The file knows hashes alone: `AaTopic#BB` and `BBTopic#Aa` are one to it. The client sorts them out."""
    with Simulation(seed=1) as sim:
        log = PaperLog()
        log.put("AaTopic", keys="BB")
        log.put("BBTopic", keys="Aa")
        index = index_on(sim.node("a"))
        index.dispatch(log.requests)
        for topic, key in (("AaTopic", "BB"), ("BBTopic", "Aa")):
            assert index.query(topic, key, 10, *ALWAYS).physical_offsets == [
                0,
                log.requests[1].physical_offset,
            ]


def test_the_clients_id_comes_first_then_each_key() -> None:
    request = PaperLog().put(keys="a  b c", uniq_key="ID")
    assert keys_of(request) == ["ID", "a", "b", "c"]
    assert keys_of(PaperLog().put()) == []
    assert keys_of(PaperLog().put(keys="one")) == ["one"]


def test_a_rolled_back_message_is_not_indexed_and_a_half_one_is() -> None:
    with Simulation(seed=1) as sim:
        log = PaperLog()
        for sys_flag in (4, 8, 12):
            log.put(keys="k", sys_flag=sys_flag)
        index = index_on(sim.node("a"))
        index.dispatch(log.requests)
        assert index.query("flights", "k", 9, *ALWAYS).physical_offsets == [
            each.physical_offset for each in log.requests[:2]
        ]


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_a_query_finds_what_looking_at_every_message_finds(batch: int) -> None:
    with Simulation(seed=1) as sim:
        log = log_of(60)
        index = index_on(sim.node("a"))
        for start in range(0, 60, batch):
            index.dispatch(log.requests[start : start + batch])
            if start % 8 == 0:
                flushed(sim, index)
        assert len(index.files) > 3
        for key in [f"k{number}" for number in range(9)] + ["ID000001", "nobody"]:
            expected = [each.physical_offset for each in log.requests if key in keys_of(each)]
            assert index.query("flights", key, 64, *ALWAYS).physical_offsets == expected
            assert index.query("flights", key, 2, *ALWAYS).physical_offsets == expected[-2:]


def test_a_query_by_time_is_true_to_the_second() -> None:
    with Simulation(seed=1) as sim:
        log = PaperLog()
        for number in range(12):
            log.put(keys="k", store_ms=1_000 * number + 1_000)
        index = index_on(sim.node("a"))
        index.dispatch(log.requests)
        found = index.query("flights", "k", 64, 4_000, 6_000)
        assert found.physical_offsets == [each.physical_offset for each in log.requests[3:6]]
        assert found.last_update_timestamp_ms == 12_000
        assert found.last_update_physical_offset == log.requests[-1].physical_offset
        assert index.query("flights", "k", 64, 50_000, 60_000).physical_offsets == []


def test_a_repeat_is_passed_over() -> None:
    with Simulation(seed=1) as sim:
        log, node = log_of(30), sim.node("a")
        index = index_on(node)
        index.dispatch(log.requests)
        index.dispatch(log.requests[10:])
        index.dispatch(log.requests[-1:])
        flushed(sim, index)
        once = index_on(sim.node("b"))
        once.dispatch(log.requests)
        flushed(sim, once)
        assert contents(node.disk) == contents(sim.node("b").disk)


def test_a_clean_restart_goes_on_in_the_same_file_and_needs_nothing_again() -> None:
    with Simulation(seed=1) as sim:
        log, a, b = log_of(50), sim.node("a"), sim.node("b")
        for start in range(0, 50, 9):
            index = index_on(a)
            index.dispatch(log.requests[start : start + 9])
            flushed(sim, index)
        once = index_on(b)
        once.dispatch(log.requests)
        flushed(sim, once)
        assert contents(a.disk) == contents(b.disk)
        assert index_on(a).recovered_to() > len(log.data)


def test_a_log_whose_messages_have_no_keys_is_not_read_again_after_a_clean_end() -> None:
    with Simulation(seed=1) as sim:
        node, log = sim.node("a"), PaperLog()
        assert index_on(node).recovered_to() == 0, "no directory: the log has never been followed"
        index = index_on(node)
        index.dispatch([log.put(), log.put()])
        flushed(sim, index)
        assert node.disk.list("index") == []
        assert index_on(node).recovered_to() > len(log.data)


async def write_safely(disk: Disk, path: str, data: bytes) -> None:
    file = disk.open(path, create=True)
    file.write_at(0, data)
    await file.sync()
    await disk.sync_directory("")


@given(st.integers(0, 2**32), st.integers(1, 80), st.integers(0, 80))
def test_after_the_power_went_the_index_equals_one_made_from_the_log(
    seed: int, count: int, synced: int
) -> None:
    with Simulation(seed=seed) as sim:
        log, node = log_of(count, seed), sim.node("a")
        sim.run(lambda: write_safely(node.disk, ABORT, b""))
        index = index_on(node, 3_000, 30)
        index.dispatch(log.requests[:synced])
        safe_ms = flushed(sim, index) or 0
        sim.run(lambda: write_safely(node.disk, "checkpoint", struct.pack(">qqq", safe_ms, safe_ms, safe_ms)))
        index.dispatch(log.requests[synced:])
        for file in index.files:
            file.write()
        sim.kill("a", death="power")
        node = sim.restart("a")
        again = index_on(node, 3_000, 30)
        begin = min(again.recovered_to(), _first_after(log, safe_ms - 3_000))
        again.dispatch(log.requests_from(begin))
        flushed(sim, again)
        once = index_on(sim.node("b"), 3_000, 30)
        once.dispatch(log.requests)
        flushed(sim, once)
        assert contents(node.disk) == contents(sim.node("b").disk)


def _first_after(log: PaperLog, safe_ms: int) -> int:
    """Where dispatch would begin by the checkpoint: every message stored up to `safe_ms` is safe."""
    later = [each.physical_offset for each in log.requests if each.store_timestamp_ms > safe_ms]
    return later[0] if later else len(log.data)


def test_retention_removes_files_whose_messages_are_gone_never_the_newest() -> None:
    with Simulation(seed=1) as sim:
        log, node = log_of(60), sim.node("a")
        index = index_on(node)
        index.dispatch(log.requests)
        flushed(sim, index)
        second_ends = index.files[1].end_physical_offset
        count = len(index.files)
        index.delete_before(second_ends)
        assert len(node.disk.list("index")) == len(index.files) == count - 1
        index.delete_before(1 << 40)
        assert len(node.disk.list("index")) == len(index.files) == 1


@pytest.mark.parametrize(("name", "length"), [("20130101050000000", 39), ("notes", 588)])
def test_a_file_that_cannot_be_ours_is_refused_with_one_sentence(name: str, length: int) -> None:
    with Simulation(seed=1) as sim:
        node = sim.node("a")
        node.disk.open(f"index/{name}", create=True).set_length(length)
        with pytest.raises(StoreError, match="index files here have"):
            index_on(node)


def test_an_empty_file_is_removed() -> None:
    with Simulation(seed=1) as sim:
        node = sim.node("a")
        node.disk.open("index/20130101050000000", create=True).close()
        assert index_on(node).files == [] and node.disk.list("index") == []


def test_files_are_named_by_utc_time_and_never_twice() -> None:
    assert file_name(1_357_016_400_007) == "20130101050000007"
    with Simulation(seed=1) as sim:
        node = sim.node("a")
        index = index_on(node, entries=2)
        log = log_of(20)
        index.dispatch(log.requests)
        flushed(sim, index)
        names = node.disk.list("index")
        assert len(names) == len(index.files) == len(set(names)) > 10


def test_a_disk_that_refuses_stops_the_index_and_not_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    with Simulation(seed=1) as sim:
        node, log = sim.node("a"), log_of(30)
        heard: list[str] = []
        node.journal.complaint_listeners.append(lambda event: heard.append(event.kind))
        index = index_on(node)

        def refuse(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(node.disk, "open", refuse)
        index.dispatch(log.requests)
        monkeypatch.undo()
        assert heard == ["index not written"]
        assert flushed(sim, index) is None, "keys are missing, so nothing can be called durable"


def test_between_thorough_flushes_entries_are_written_and_slots_wait() -> None:
    """Keys fall into slots at random: to write their pages each second would cost more than to fill them."""
    with Simulation() as sim:
        node, log = sim.node("broker"), PaperLog()
        index = index_on(node, slots=5_000, entries=5_000)
        for number in range(500):
            log.put(keys=f"k{number}", store_ms=10_000 + number)
        index.dispatch(log.requests)
        assert sim.run(lambda: index.flush(False)) is None, "nothing of it may count as durable"
        [file] = index.files
        assert file.waiting_bytes == 0 and file.is_dirty
        [on_disk] = contents(node.disk)
        slots, entries = on_disk[40 : 40 + 4 * 5_000], on_disk[40 + 4 * 5_000 :]
        assert on_disk[:40] == bytes(40) and not any(slots), "no chain may lead to what is not all there"
        assert len(entries.rstrip(b"\0")) > 490 * 20
        assert index.query("flights", "k7", 9, *ALWAYS).physical_offsets == [log.requests[7].physical_offset]
        flushed(sim, index)
        [on_disk] = contents(node.disk)
        assert int.from_bytes(on_disk[36:40], "big") == 501 and any(on_disk[40 : 40 + 4 * 5_000])
