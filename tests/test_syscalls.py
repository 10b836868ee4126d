"""The trace of system calls: what it shows of a real broker, and that a lie would be found out.

It needs strace, and fails with a sentence where there is none.
"""

import pytest

from tests.syscalls import WrongOrder, calls_in, judge, lines_of

SEGMENT = "commitlog/00000000000000000000"
HONEST = f"""\
7 recvfrom(9<socket:[5]>, "\\0\\0\\1 HA51 from JFK to HNL at 09:00", 65536, 0, NULL, NULL) = 230
7 pwrite64(8</store/{SEGMENT}>, "\\0\\0\\0\\250HA51 from JFK to HNL at 09:00", 168, 0) = 168
8 fsync(8</store/{SEGMENT}> <unfinished ...>
7 recvfrom(9<socket:[5]>, 0x5, 65536, 0, NULL, NULL) = -1 EAGAIN (Resource temporarily unavailable)
8 <... fsync resumed>) = 0
7 sendto(9<socket:[5]>, "\\0{{\\"queueOffset\\":\\"0\\"}}", 201, 0, NULL, 0) = 201
7 +++ exited with 0 +++
"""


def test_under_sync_flush_the_sync_has_returned_before_the_reply_leaves() -> None:
    policy, *lines = lines_of(["SYNC_FLUSH"])
    assert policy == "SYNC_FLUSH"
    assert [line.split()[0] for line in lines] == ["1", "2", "3", "4", "5"]
    assert [line.split()[1] for line in lines] == ["recvfrom", "pwrite64", "fsync", "fsync", "sendto"]
    assert f"{SEGMENT}: the sync has returned" in lines[3] and "the reply leaves" in lines[4]


def test_under_async_flush_the_reply_leaves_before_any_sync_begins() -> None:
    _, *lines = lines_of(["ASYNC_FLUSH"])
    assert [line.split()[1] for line in lines] == ["recvfrom", "pwrite64", "sendto", "fsync", "fsync"]


WAITS_FOR_NOBODY = """
from mq.cli import main
from mq.commitlog.flush import GroupCommit

GroupCommit.acknowledge = lambda self, result: None
main()
"""


def test_a_broker_that_promises_and_does_not_wait_is_found_out() -> None:
    with pytest.raises(WrongOrder, match="SYNC_FLUSH: the reply leaves before the segment is synced"):
        list(lines_of(["SYNC_FLUSH"], ["-c", WAITS_FOR_NOBODY]))


def test_a_call_that_was_interrupted_in_the_trace_is_one_call() -> None:
    calls = calls_in(HONEST)
    assert [(call.name, call.result.split()[0]) for call in calls] == [
        ("recvfrom", "230"), ("pwrite64", "168"), ("fsync", "0"), ("recvfrom", "-1"), ("sendto", "201")
    ]  # fmt: skip
    sync = calls[2]
    assert (sync.path, sync.began, sync.ended) == (f"/store/{SEGMENT}", 2, 4)
    assert len(judge(calls, "SYNC_FLUSH")) == 5


def swapped(one: int, other: int) -> str:
    """The honest trace with two lines in each other's place."""
    lines = HONEST.splitlines()
    lines[one], lines[other] = lines[other], lines[one]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("trace", "policy", "sentence"),
    [
        (swapped(4, 5), "SYNC_FLUSH", "the reply leaves before the segment is synced"),
        (swapped(1, 5), "SYNC_FLUSH", "a sync of that segment"),
        (HONEST, "ASYNC_FLUSH", "the reply leaves after the segment is synced"),
        (HONEST.replace("fsync resumed>) = 0", "fsync resumed>) = -1 EIO"), "SYNC_FLUSH", "sync failed: -1"),
        (HONEST.replace(f"fsync(8</store/{SEGMENT}>", "fsync(8</store/x>"), "SYNC_FLUSH", "a sync of that"),
        (HONEST.replace("queueOffset", "remark"), "SYNC_FLUSH", "does not show the reply"),
        ("", "SYNC_FLUSH", "does not show the request"),
    ],
)  # fmt: skip
def test_another_order_is_a_sentence(trace: str, policy: str, sentence: str) -> None:
    with pytest.raises(WrongOrder, match=sentence):
        judge(calls_in(trace), policy)
