"""One set of scripts, two disks: what the real disk does, the simulated one does too.

A script is a coroutine that takes a Node with an empty disk. The real disk runs it under asyncio's loop in a
temporary directory, the simulated one in virtual time.
"""

import asyncio
import errno
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from mq.runtime.disk import Disk
from mq.runtime.node import Node
from mq.runtime.real import RealNode
from mq.sim.faults import FailingDisk, FullDisk, ReadOnlyDisk, SlowDisk
from mq.sim.simulation import Simulation

Script = Callable[[Node], Coroutine[Any, Any, None]]
Run = Callable[[Script], None]
SCRIPTS: list[Script] = []


def on_both_disks(script: Script) -> Script:
    """Add a script to those that both disks must pass; its name is the behaviour."""
    SCRIPTS.append(script)
    return script


def run_on_real_disk(script: Script, root: Path) -> None:
    async def main() -> None:
        node = RealNode("real", str(root))
        try:
            await asyncio.wait_for(script(node), 30)
        finally:
            node.real_disk.close()

    asyncio.run(main())


def run_on_simulated_disk(script: Script) -> None:
    with Simulation(3) as sim:
        node = sim.node("simulated")
        sim.run(script(node), timeout_s=30)


@pytest.fixture(params=["real", "simulated"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Runs a script on one of the disks."""
    if request.param == "real":
        return lambda script: run_on_real_disk(script, tmp_path / "root")
    return run_on_simulated_disk


def put(disk: Disk, path: str, data: bytes) -> None:
    file = disk.open(path, create=True)
    file.write_at(0, data)
    file.close()


def get(disk: Disk, path: str) -> bytes:
    file = disk.open(path)
    data = file.read_at(0, file.length())
    file.close()
    return data


# ---------------------------------------------------------------- reading and writing


@on_both_disks
async def what_is_written_is_read_back(node: Node) -> None:
    file = node.disk.open("log", create=True)
    file.write_at(0, b"flight")
    assert file.read_at(0, 6) == b"flight"
    assert file.read_at(2, 3) == b"igh"


@on_both_disks
async def a_read_at_the_end_is_short_and_behind_it_empty(node: Node) -> None:
    file = node.disk.open("log", create=True)
    file.write_at(0, b"0123456789")
    assert file.read_at(8, 100) == b"89"
    assert file.read_at(10, 5) == b""
    assert file.read_at(5000, 5) == b""
    assert file.read_at(3, 0) == b""


@on_both_disks
async def a_hole_reads_as_zeros(node: Node) -> None:
    file = node.disk.open("log", create=True)
    file.write_at(10_000, b"end")
    assert file.length() == 10_003
    assert file.read_at(4_090, 20) == bytes(20)
    assert file.read_at(9_998, 5) == b"\0\0end"


@on_both_disks
async def a_write_across_pages_is_whole(node: Node) -> None:
    file = node.disk.open("log", create=True)
    data = bytes(range(256)) * 100
    file.write_at(4_000, data)
    assert file.read_at(4_000, len(data)) == data
    file.write_at(8_190, b"####")
    assert file.read_at(8_188, 8) == data[4_188:4_190] + b"####" + data[4_194:4_196]


@on_both_disks
async def a_write_takes_bytearray_and_memoryview_by_value(node: Node) -> None:
    file = node.disk.open("log", create=True)
    buffer = bytearray(b"abcdef")
    file.write_at(0, buffer)
    file.write_at(6, memoryview(buffer)[1:3])
    buffer[:] = b"XXXXXX"
    assert file.read_at(0, 10) == b"abcdefbc"


@on_both_disks
async def a_write_of_nothing_changes_nothing(node: Node) -> None:
    file = node.disk.open("log", create=True)
    file.write_at(100, b"")
    assert file.length() == 0


@on_both_disks
async def a_cut_takes_the_end_and_an_extension_brings_zeros_not_old_bytes(node: Node) -> None:
    file = node.disk.open("log", create=True)
    file.write_at(0, b"x" * 10_000)
    file.set_length(5_000)
    assert file.length() == 5_000
    file.set_length(9_000)
    assert file.read_at(4_998, 6) == b"xx\0\0\0\0"
    assert file.read_at(8_000, 2_000) == bytes(1_000)


@on_both_disks
async def a_file_of_a_gigabyte_of_holes_takes_no_space(node: Node) -> None:
    file = node.disk.open("segment", create=True)
    before = node.disk.usage().used_bytes
    file.set_length(1 << 30)
    assert file.length() == 1 << 30
    assert file.read_at((1 << 30) - 4, 10) == bytes(4)
    assert node.disk.usage().used_bytes - before < 1 << 29


@on_both_disks
async def positions_below_zero_are_refused(node: Node) -> None:
    file = node.disk.open("log", create=True)
    for call in (lambda: file.read_at(-1, 5), lambda: file.write_at(-1, b"x"), lambda: file.set_length(-1)):
        with pytest.raises(OSError) as refused:
            call()
        assert refused.value.errno == errno.EINVAL


@on_both_disks
async def two_handles_see_one_file(node: Node) -> None:
    one, other = node.disk.open("log", create=True), node.disk.open("log")
    one.write_at(0, b"seen")
    assert other.read_at(0, 10) == b"seen"
    one.close()
    assert other.read_at(0, 10) == b"seen"


@on_both_disks
async def opening_with_create_keeps_what_is_there(node: Node) -> None:
    put(node.disk, "log", b"kept")
    assert node.disk.open("log", create=True).read_at(0, 10) == b"kept"


# ---------------------------------------------------------------- names


@on_both_disks
async def a_missing_file_is_file_not_found(node: Node) -> None:
    disk = node.disk
    for call in (
        lambda: disk.open("no"),
        lambda: disk.open("no/no"),
        lambda: disk.stat("no"),
        lambda: disk.remove("no"),
        lambda: disk.replace("no", "yes"),
    ):
        with pytest.raises(FileNotFoundError):
            call()
    assert not disk.exists("no")
    assert disk.list("no") == []


@on_both_disks
async def create_makes_the_directories_above(node: Node) -> None:
    put(node.disk, "consumequeue/flights/3/00000000000000000000", b"x")
    assert node.disk.exists("consumequeue/flights")
    assert node.disk.list("consumequeue/flights") == ["3"]


@on_both_disks
async def a_listing_is_sorted(node: Node) -> None:
    for name in ("b", "a10", "c", "a9", "B"):
        put(node.disk, f"d/{name}", b"")
    assert node.disk.list("d") == ["B", "a10", "a9", "b", "c"]
    assert node.disk.list("") == ["d"]


@on_both_disks
async def a_directory_cannot_be_opened_and_a_file_cannot_be_listed(node: Node) -> None:
    put(node.disk, "d/file", b"")
    with pytest.raises(IsADirectoryError):
        node.disk.open("d")
    with pytest.raises(NotADirectoryError):
        node.disk.list("d/file")
    with pytest.raises(OSError):
        node.disk.open("d/file/below", create=True)


@on_both_disks
async def replace_takes_the_place_of_the_target(node: Node) -> None:
    put(node.disk, "new", b"new")
    put(node.disk, "old", b"old and longer")
    node.disk.replace("new", "old")
    assert get(node.disk, "old") == b"new"
    assert node.disk.list("") == ["old"]
    node.disk.replace("old", "old")
    assert get(node.disk, "old") == b"new"


@on_both_disks
async def replace_moves_between_directories_that_exist(node: Node) -> None:
    put(node.disk, "a/file", b"moved")
    put(node.disk, "b/other", b"")
    node.disk.replace("a/file", "b/file")
    assert node.disk.list("a") == []
    assert get(node.disk, "b/file") == b"moved"
    with pytest.raises(FileNotFoundError):
        node.disk.replace("b/file", "c/file")


@on_both_disks
async def a_directory_can_be_renamed_with_all_that_is_in_it(node: Node) -> None:
    put(node.disk, "topic-0/log", b"x")
    node.disk.replace("topic-0", "topic-0.deleted")
    assert get(node.disk, "topic-0.deleted/log") == b"x"
    put(node.disk, "full/log", b"")
    with pytest.raises(OSError) as refused:
        node.disk.replace("topic-0.deleted", "full")
    assert refused.value.errno == errno.ENOTEMPTY


@on_both_disks
async def an_open_file_lives_on_under_its_new_name_and_after_its_removal(node: Node) -> None:
    file = node.disk.open("tmp", create=True)
    node.disk.replace("tmp", "final")
    file.write_at(0, b"written late")
    assert get(node.disk, "final") == b"written late"
    node.disk.remove("final")
    assert file.read_at(0, 7) == b"written"
    assert not node.disk.exists("final")


@on_both_disks
async def remove_takes_files_and_empty_directories_only(node: Node) -> None:
    put(node.disk, "d/file", b"")
    with pytest.raises(OSError) as refused:
        node.disk.remove("d")
    assert refused.value.errno == errno.ENOTEMPTY
    node.disk.remove("d/file")
    node.disk.remove("d")
    assert node.disk.list("") == []


@on_both_disks
async def stat_gives_length_and_a_time_on_the_wall_clock(node: Node) -> None:
    put(node.disk, "log", b"12345")
    found = node.disk.stat("log")
    assert found.length_bytes == 5
    assert abs(found.modified_ms - node.wall_ms()) < 60_000


@on_both_disks
async def usage_is_between_nothing_and_everything(node: Node) -> None:
    put(node.disk, "log", b"x" * 10_000)
    usage = node.disk.usage()
    assert 0 < usage.used_bytes <= usage.total_bytes
    assert 0.0 < usage.ratio <= 1.0


# ---------------------------------------------------------------- syncs, locks, closing


@on_both_disks
async def a_sync_ends(node: Node) -> None:
    file = node.disk.open("d/log", create=True)
    file.write_at(0, b"x")
    for future in (file.sync(), node.disk.sync_directory("d"), node.disk.sync_directory("")):
        await future
        assert future.exception() is None


@on_both_disks
async def a_sync_takes_time(node: Node) -> None:
    file = node.disk.open("log", create=True)
    future = file.sync()
    assert not future.done()
    await future


@on_both_disks
async def syncs_end_in_the_order_they_began(node: Node) -> None:
    ended: list[int] = []
    futures = []
    for number in range(20):
        file = node.disk.open(f"file{number % 3}", create=True)
        file.write_at(0, bytes(1000 * (20 - number)))
        future = node.disk.sync_directory("") if number % 4 == 3 else file.sync()
        future.add_done_callback(lambda _, number=number: ended.append(number))  # type: ignore[misc]
        futures.append(future)
    await asyncio.gather(*futures)
    await node.sleep_ms(1)
    assert ended == list(range(20))


@on_both_disks
async def closing_waits_for_the_sync_under_way(node: Node) -> None:
    file = node.disk.open("log", create=True)
    file.write_at(0, b"x")
    future = file.sync()
    file.close()
    await future
    assert future.exception() is None
    assert get(node.disk, "log") == b"x"


@on_both_disks
async def a_closed_file_refuses_everything_but_another_close(node: Node) -> None:
    file = node.disk.open("log", create=True)
    file.close()
    file.close()
    for call in (lambda: file.read_at(0, 1), lambda: file.write_at(0, b"x"), file.length):
        with pytest.raises(OSError) as refused:
            call()
        assert refused.value.errno == errno.EBADF
    with pytest.raises(OSError):
        await file.sync()


@on_both_disks
async def the_sync_of_a_missing_directory_fails(node: Node) -> None:
    with pytest.raises(FileNotFoundError):
        await node.disk.sync_directory("nowhere")


@on_both_disks
async def a_lock_is_exclusive_until_it_is_released(node: Node) -> None:
    lock = node.disk.lock("store/lock")
    with pytest.raises(BlockingIOError):
        node.disk.lock("store/lock")
    other = node.disk.lock("store/other")
    lock.release()
    lock.release()
    again = node.disk.lock("store/lock")
    with pytest.raises(BlockingIOError):
        node.disk.lock("store/lock")
    again.release()
    other.release()


# ---------------------------------------------------------------- faults wrap either disk


@on_both_disks
async def a_full_disk_writes_what_fits_then_says_no_space(node: Node) -> None:
    disk = FullDisk(node, node.disk, room_bytes=6)
    file = disk.open("log", create=True)
    file.write_at(0, b"1234")
    with pytest.raises(OSError) as refused:
        file.write_at(4, b"5678")
    assert refused.value.errno == errno.ENOSPC
    assert file.read_at(0, 10) == b"123456"
    assert disk.usage().ratio == 1.0
    disk.room_bytes = 100
    file.write_at(4, b"5678")
    assert file.read_at(0, 10) == b"12345678"


@on_both_disks
async def a_failing_disk_fails_the_nth_call_of_its_kind(node: Node) -> None:
    disk = FailingDisk(node, node.disk, "write_at", nth=2)
    file = disk.open("log", create=True)
    file.write_at(0, b"1")
    with pytest.raises(OSError) as refused:
        file.write_at(1, b"2")
    assert refused.value.errno == errno.EIO
    file.write_at(1, b"3")
    assert file.read_at(0, 5) == b"13"


@on_both_disks
async def a_failed_sync_is_told_by_its_future(node: Node) -> None:
    disk = FailingDisk(node, node.disk, "sync", nth=1, count=2)
    file = disk.open("log", create=True)
    for _ in range(2):
        with pytest.raises(OSError) as refused:
            await file.sync()
        assert refused.value.errno == errno.EIO
    await file.sync()
    await disk.sync_directory("")


@on_both_disks
async def a_read_only_disk_reads_and_changes_nothing(node: Node) -> None:
    put(node.disk, "log", b"kept")
    disk = ReadOnlyDisk(node, node.disk)
    file = disk.open("log", create=True)
    assert file.read_at(0, 10) == b"kept"
    for call in (
        lambda: file.write_at(0, b"x"),
        lambda: file.set_length(0),
        lambda: disk.remove("log"),
        lambda: disk.replace("log", "gone"),
        lambda: disk.open("new", create=True),
    ):
        with pytest.raises(OSError) as refused:
            call()
        assert refused.value.errno == errno.EROFS
    assert get(node.disk, "log") == b"kept"
    assert disk.list("") == ["log"]


@on_both_disks
async def a_slow_disk_syncs_late_and_in_order(node: Node) -> None:
    disk = SlowDisk(node, node.disk, extra_ms=20)
    file = disk.open("log", create=True)
    began_ms, ended = node.monotonic_ms(), []
    futures = [file.sync() for _ in range(3)]
    for number, future in enumerate(futures):
        future.add_done_callback(lambda _, number=number: ended.append(number))  # type: ignore[misc]
    await asyncio.gather(*futures)
    assert node.monotonic_ms() - began_ms >= 20
    await node.sleep_ms(1)
    assert ended == [0, 1, 2]


@on_both_disks
async def faults_wrap_each_other(node: Node) -> None:
    disk = SlowDisk(node, FullDisk(node, node.disk, room_bytes=3), extra_ms=1)
    file = disk.open("log", create=True)
    with pytest.raises(OSError):
        file.write_at(0, b"1234")
    await file.sync()
    assert file.length() == 3


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_both_disks_behave_alike(run: Run, script: Script) -> None:
    run(script)


def test_the_real_disk_gives_every_descriptor_back(tmp_path: Path) -> None:
    async def open_and_close(node: Node) -> None:
        put(node.disk, "first", b"x")
        before = len(os.listdir("/dev/fd"))
        for number in range(50):
            put(node.disk, f"d/{number}", b"x")
            node.disk.lock(f"d/{number}").release()
        assert len(os.listdir("/dev/fd")) == before

    run_on_real_disk(open_and_close, tmp_path)
