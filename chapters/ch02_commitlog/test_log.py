"""I2.2 and I2.3: the log over its segments; where it ends after a death, and what lies behind its end."""

from collections.abc import Iterator

import pytest

from chapters.ch02_commitlog.stores import (
    SMALL_SEGMENT,
    Bench,
    append,
    inner,
    log_of,
    places,
    record,
    spoil,
)
from mq.commitlog.hosts import encode_host
from mq.commitlog.load import load_segments
from mq.commitlog.log import CommitLog
from mq.commitlog.record import BLANK_MAGIC, encode_record
from mq.commitlog.recovery import first_store_timestamp_ms, recover_log, recovery_start
from mq.runtime.disk import Disk
from mq.runtime.errors import StoreError
from mq.sim.crashes import CrashPoint, crash_once, disk_calls, enumerate_crashes
from mq.sim.simulation import Simulation

SEGMENT = 1000
PROPERTIES_BYTES = 3  # of the records that `append` makes


@pytest.fixture
def disk() -> Iterator[Disk]:
    """An empty disk of a machine that lives through the test."""
    with Simulation() as sim:
        yield sim.node("broker").disk


def opened(
    disk: Disk, directory: str = "commitlog", clean: bool = False, segment: int = SEGMENT
) -> CommitLog:
    """The log as a start finds it."""
    log = log_of(disk, segment, directory)
    load_segments(log.segments, clean)
    recover_log(log, recovery_start(log, clean, 0))
    return log


def behind_the_end(log: CommitLog) -> bytes:
    """Every byte from the log's end to the end of its last file."""
    segments = log.segments
    if log.end >= segments.capacity_end:
        return b""
    return segments.read(log.end, segments.capacity_end - log.end)


# ---------------------------------------------------------------- segments


def test_a_record_that_leaves_just_room_for_a_mark_goes_into_the_segment(disk: Disk) -> None:
    """I2.3: 492 + 500 + 8 = 1000."""
    log = log_of(disk, SEGMENT)
    assert append(log, 492, 500, 100) == [0, 492, SEGMENT]
    assert log.segments.read(992, 8) == (8).to_bytes(4, "big") + BLANK_MAGIC.to_bytes(4, "big")
    assert places(log) == [0, 492, SEGMENT]


def test_a_record_that_would_take_the_mark_s_room_goes_into_the_next_segment(disk: Disk) -> None:
    """I2.3: 492 + 501 + 8 = 1001. The mark says how much is left, and the rest is untouched."""
    log = log_of(disk, SEGMENT)
    assert append(log, 492, 501) == [0, SEGMENT]
    room = SEGMENT - 492
    assert log.segments.read(492, room) == (room.to_bytes(4, "big") + BLANK_MAGIC.to_bytes(4, "big")).ljust(
        room, b"\0"
    )
    assert places(log) == [0, SEGMENT]
    assert disk.list("commitlog") == [f"{0:020d}", f"{SEGMENT:020d}"]


def test_every_file_has_its_full_length_from_its_first_moment(disk: Disk) -> None:
    log = log_of(disk, SEGMENT)
    append(log, 900, 900, 900)
    assert [disk.stat(f"commitlog/{name}").length_bytes for name in disk.list("commitlog")] == [SEGMENT] * 3


@pytest.mark.parametrize("size", range(95, 400, 7))
def test_no_record_ever_crosses_a_segment_s_end(disk: Disk, size: int) -> None:
    """I2.3, for records of many sizes: each is in the file of its first byte, with room for a mark."""
    log = log_of(disk, SEGMENT)
    found = append(log, *[size] * 30)
    assert all(place % SEGMENT + size + 8 <= SEGMENT for place in found)
    assert places(log) == found
    assert places(opened(disk)) == found


def test_one_write_out_is_one_call_for_each_file(disk: Disk) -> None:
    """What a network read brought is handed to the page cache at once."""
    log, writes = log_of(disk, SEGMENT), []
    log.segments.write = lambda position, data: writes.append((position, len(data)))  # type: ignore[method-assign]
    append(log, 200, 300, 400, 250, 250)
    assert writes == [(0, 908), (SEGMENT, 500)]


def test_a_read_sees_only_what_is_written_and_never_two_files(disk: Disk) -> None:
    log = log_of(disk, SEGMENT)
    append(log, 900, 900)
    assert len(log.read(0, 5000)) == SEGMENT and len(log.read(SEGMENT, 5000)) == 900
    log.append(record(log.place_for(95), 95))
    assert [log.read(at, 10) for at in (-1, 1900, 2000, 10**9)] == [b"", b"", b"", b""]
    assert log.read(0, 0) == b""


# ---------------------------------------------------------------- load


def refusal(disk: Disk, clean: bool) -> str:
    """The sentence with which a log is refused."""
    with pytest.raises(StoreError) as refused:
        load_segments(log_of(disk, SEGMENT).segments, clean)
    assert "\n" not in refused.value.remark
    return refused.value.remark


def three_segments(disk: Disk) -> None:
    append(log_of(disk, SEGMENT), 900, 900, 900)


@pytest.mark.parametrize("clean", [True, False])
def test_an_empty_last_file_is_removed(disk: Disk, clean: bool) -> None:
    three_segments(disk)
    disk.open(f"commitlog/{3 * SEGMENT:020d}", create=True).close()
    log = log_of(disk, SEGMENT)
    assert load_segments(log.segments, clean) == [f"{3 * SEGMENT:020d}"]
    assert log.segments.starts == [0, SEGMENT, 2 * SEGMENT]
    assert len(disk.list("commitlog")) == 3


def test_a_file_of_the_wrong_length_is_refused_with_one_line(disk: Disk) -> None:
    three_segments(disk)
    file = disk.open(f"commitlog/{SEGMENT:020d}")
    for length, clean in ((999, True), (1001, True), (1001, False)):
        file.set_length(length)
        said = refusal(disk, clean)
        assert said == f"commitlog/{SEGMENT:020d} has {length} bytes; segments here have {SEGMENT}"


def test_another_segment_size_than_the_store_was_made_with_destroys_nothing(disk: Disk) -> None:
    """Also after an unclean end: a short file before one that does not follow it is no torn one."""
    three_segments(disk)
    for clean in (True, False):
        for segment in (500, 2000):
            with pytest.raises(StoreError, match="segments here have"):
                load_segments(log_of(disk, segment).segments, clean)
    assert places(opened(disk)) == [0, SEGMENT, 2 * SEGMENT]


def test_a_missing_segment_is_refused_after_a_clean_end_and_ends_the_log_after_an_unclean_one(
    disk: Disk,
) -> None:
    three_segments(disk)
    disk.remove(f"commitlog/{SEGMENT:020d}")
    assert (
        refusal(disk, True) == f"commitlog/{2 * SEGMENT:020d} should begin at {SEGMENT}: a segment is missing"
    )
    assert len(disk.list("commitlog")) == 2, "a refusal changes nothing"
    assert places(opened(disk, clean=False)) == [0]
    assert disk.list("commitlog") == [f"{0:020d}"]


def test_a_file_with_a_strange_name_is_refused(disk: Disk) -> None:
    three_segments(disk)
    spoil(disk, "commitlog/notes.txt", 0, b"buy milk")
    for clean in (True, False):
        assert refusal(disk, clean) == "commitlog/notes.txt is not the name of a segment"


@pytest.mark.parametrize("length", [1, 500, 999])
def test_a_short_last_file_gets_its_zeros_back_after_an_unclean_end(disk: Disk, length: int) -> None:
    three_segments(disk)
    path = f"commitlog/{2 * SEGMENT:020d}"
    disk.open(path).set_length(length)
    log = opened(disk, clean=False)
    assert places(log) == [0, SEGMENT] + ([2 * SEGMENT] if length >= 900 else [])
    assert append(log, 400)[0] >= 2 * SEGMENT
    assert disk.stat(path).length_bytes == SEGMENT


def test_a_short_file_in_the_middle_of_a_sequence_that_fits_ends_the_log_there(disk: Disk) -> None:
    """A machine that died while recovery cut this file, and got the removed files behind it back."""
    three_segments(disk)
    disk.open(f"commitlog/{SEGMENT:020d}").set_length(300)
    log = opened(disk, clean=False)
    assert (places(log), log.end) == ([0], SEGMENT)
    assert append(log, 500) == [SEGMENT]


def test_an_emptied_log_goes_on_at_its_first_file_s_position(disk: Disk) -> None:
    """Old files are gone and the only one left is unreadable: positions must not begin at 0 again."""
    path = f"commitlog/{5 * SEGMENT:020d}"
    spoil(disk, path, SEGMENT - 1, b"\0")
    spoil(disk, path, 0, b"garbage that is no record")
    log = opened(disk)
    assert (log.min_offset, log.end) == (5 * SEGMENT, 5 * SEGMENT)
    assert append(log, 900, 900) == [5 * SEGMENT, 6 * SEGMENT]
    assert places(opened(disk)) == [5 * SEGMENT, 6 * SEGMENT]


# ---------------------------------------------------------------- recovery


@pytest.mark.parametrize("filler", [b"\0", b"\xff", b"A"], ids=["zeros", "ones", "letters"])
def test_a_log_cut_at_any_byte_ends_at_its_last_whole_record(disk: Disk, filler: bytes) -> None:
    """I2.2: cut, then recovered, then written on, then recovered again; at each of 330 bytes.

    One thing the format cannot see: a record that lost only bytes of its properties, its last field, is taken
    for whole unless they are no UTF-8. No checksum covers them.
    """
    unseen = 0 if filler == b"\xff" else PROPERTIES_BYTES
    whole = log_of(disk, SEGMENT, "whole")
    kept = append(whole, 150, 120, 110, 100, 120)
    image, ends = whole.segments.read(0, whole.end), [*kept[1:], whole.end]
    for cut in range(kept[2], whole.end + 1):
        directory = f"cut{cut}"
        path = f"{directory}/{0:020d}"
        spoil(disk, path, 0, (image[:cut] + filler * 200).ljust(SEGMENT, b"\0"))
        log = opened(disk, directory)
        end = max((each for each in ends if each - unseen <= cut), default=0)
        assert log.end == end, f"cut at {cut}: the log should end at {end}"
        assert places(log) == [place for place in kept if place < end]
        assert not any(behind_the_end(log)), f"cut at {cut}: something lies behind the end"
        (place,) = append(log, 130)
        again = opened(disk, directory)
        assert (place, again.end) == (end, end + 130), f"cut at {cut}: the second recovery disagrees"
        assert places(again) == [*(each for each in kept if each < end), end]


def test_what_lies_in_later_segments_goes_with_the_cut(disk: Disk) -> None:
    """I2.2: a log cannot be read past a place where a size is in doubt, so the real broker cuts there too."""
    three_segments(disk)
    spoil(disk, f"commitlog/{SEGMENT:020d}", 100, b"?")
    log = opened(disk)
    assert (places(log), log.end) == ([0], SEGMENT)
    assert disk.list("commitlog") == [f"{0:020d}"]


@pytest.mark.parametrize(
    ("at", "data", "why"),
    [
        (0, b"\x7f\xff\xff\xff", "a record of 2147483647 bytes cannot be"),
        (4, b"\xda\xa3\x20\xab", "magic 0xdaa320ab"),
        (28, bytes(8), "the record says that it lies at 0"),
        (90, b"\0", "body checksum"),
        (4, b"\xcb\xd4\x31\x94", "a BLANK mark of 200 bytes does not end at its segment's end"),
        (0, bytes(200), "nothing is written here"),
        (0, (700).to_bytes(4, "big"), "its parts end at 200, its size says 700"),
        (0, (900).to_bytes(4, "big"), "900 bytes are wanted, 800 are there"),
    ],
)
def test_a_reader_says_why_it_stops(disk: Disk, at: int, data: bytes, why: str) -> None:
    append(log_of(disk, SEGMENT), 200, 200, 200)
    spoil(disk, f"commitlog/{0:020d}", 200 + at, data)
    log = log_of(disk, SEGMENT)
    load_segments(log.segments, False)
    reader = recover_log(log, 0)
    assert reader.position == 200
    assert reader.reason.startswith(why)
    assert reader.cut == (why != "nothing is written here")


def test_a_mark_at_the_end_of_the_last_file_is_not_the_end_of_the_log_s_life(disk: Disk) -> None:
    """The process died between the mark and the next file."""
    append(log_of(disk, SEGMENT), 900, 900)
    disk.remove(f"commitlog/{SEGMENT:020d}")
    log = opened(disk)
    assert (places(log), log.end) == ([0], SEGMENT)
    assert append(log, 100) == [SEGMENT]
    assert places(opened(disk)) == [0, SEGMENT]


@pytest.mark.parametrize("death", ["process", "power"])
def test_what_was_cut_off_does_not_come_back(death: str) -> None:
    """I2.2: A B C are written, B is torn. After recovery B' takes B's place, of the same size, so that
    the old bytes of C would lie just where a record is looked for."""
    for seed in range(12):
        with Simulation(seed) as sim:
            bench = Bench(sim, flushDiskType="SYNC_FLUSH")
            bench.open()
            for body in (b"A" * 500, b"B" * 500, b"C" * 500):
                sim.run(bench.put_and_wait(inner(body)))
            second = bench.messages()[1].physical_offset
            spoil(bench.node.disk, f"commitlog/{0:020d}", second + 300, b"torn")
            bench.reborn("process")
            assert bench.bodies() == [b"A" * 500]
            sim.run(bench.put_and_wait(inner(b"b" * 500)))
            bench.reborn(death)
            assert bench.bodies() == [b"A" * 500, b"b" * 500], f"seed {seed}: C is back from the dead"


def test_a_death_at_any_moment_of_a_recovery_changes_nothing() -> None:
    """I2.2: a torn log of three segments is recovered; power or process ends at each Disk call of that."""
    log_image = [b"A" * 3000, b"B" * 3000, b"C" * 3000, b"D" * 3000, b"E" * 3000]

    def scenario(sim: Simulation) -> None:
        bench = Bench(sim, flushDiskType="SYNC_FLUSH")
        bench.open()
        for body in log_image:
            sim.run(bench.put_and_wait(inner(body)))
        place = bench.messages()[3].physical_offset
        start = place // SMALL_SEGMENT * SMALL_SEGMENT
        spoil(bench.node.disk, f"commitlog/{start:020d}", place - start + 50, b"torn")
        bench.reborn("process")

    def check(sim: Simulation) -> None:
        bench = Bench(sim)
        bench.open()
        bodies = bench.bodies()
        assert bodies == log_image[: len(bodies)], "not a beginning of what was appended"
        whole = bodies
        bench.put(inner(b"next"))
        bench.reborn("process")
        assert bench.bodies() == [*whole, b"next"]
        bench.close()
        bench.open()
        assert bench.bodies() == [*whole, b"next"]

    for death in ("process", "power"):
        report = enumerate_crashes(scenario, check, "broker", death=death, seed=5)
        assert report.fired > 40


@pytest.mark.parametrize("death", ["process", "power"])
def test_a_death_at_any_moment_of_a_start_after_a_clean_end_changes_nothing(death: str) -> None:
    """I2.2: also a clean start touches its last file, so a death there must not look like a clean end."""

    told: list[bytes] = []

    def scenario(sim: Simulation) -> None:
        told.clear()
        bench = Bench(sim, flushDiskType="SYNC_FLUSH")
        bench.open()
        sim.run(bench.put_and_wait(inner(b"kept")))
        told.append(b"kept")
        bench.close()
        bench.open()

    def check(sim: Simulation) -> None:
        bench = Bench(sim)
        bench.open()
        assert bench.bodies() in ([b"kept"], told)

    for seed in range(30 if death == "power" else 1):
        calls, _ = disk_calls(scenario, "broker", seed)
        for call in range(calls - 16, calls + 1):  # those of the second start
            for when in ("before", "after"):
                crash_once(scenario, check, CrashPoint("broker", call, when, death, seed))


# ---------------------------------------------------------------- from where recovery reads


def stamped(disk: Disk, times_ms: list[int], born: str = "10.0.0.9:40000") -> CommitLog:
    """One record in each segment, stored at these times."""
    log = log_of(disk, SEGMENT)
    for store_ms in times_ms:
        place = log.place_for(900)
        body, hosts = b"x" * (900 - 91 - (12 if born[0] == "[" else 0)), encode_host(born)
        log.append(
            encode_record(
                b"", body, b"", 0, 0, place, 0, 0, 1, hosts, store_ms, encode_host("10.0.0.1:10911")
            )
        )
    log.write_out(times_ms[-1])
    return log


@pytest.mark.parametrize("born", ["10.0.0.9:40000", "[::1]:40000", "[ffff:ffff:ffff:ffff:ffff::]:40000"])
def test_after_an_unclean_end_reading_begins_at_the_newest_segment_that_was_safe(
    disk: Disk, born: str
) -> None:
    """The first record's store time decides, and lies elsewhere when its sender has an IPv6 address."""
    times = [10_000, 20_000, 30_000, 40_000]
    log = stamped(disk, times, born)
    assert [first_store_timestamp_ms(log, start) for start in log.segments.starts] == times
    for safe_ms, segment in (
        (0, 0),
        (9_999, 0),
        (10_000, 0),
        (20_000, 1),
        (39_999, 2),
        (40_000, 3),
        (10**9, 3),
    ):
        assert recovery_start(log, False, safe_ms) == segment * SEGMENT, f"safe until {safe_ms}"


def test_a_segment_without_a_record_is_no_place_to_begin(disk: Disk) -> None:
    log = stamped(disk, [10_000, 20_000])
    log.segments.add()
    assert first_store_timestamp_ms(log, 2 * SEGMENT) is None
    assert recovery_start(log, False, 10**9) == SEGMENT


def test_after_a_clean_end_the_last_three_segments_are_read(disk: Disk) -> None:
    log = log_of(disk, SEGMENT)
    assert recovery_start(log, True, 0) == 0
    begins = []
    for _ in range(5):
        append(log, 900)
        begins.append(recovery_start(log, True, 10**9))
    assert begins == [0, 0, 0, SEGMENT, 2 * SEGMENT]
