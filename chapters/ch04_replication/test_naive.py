"""The obvious repair, proved wrong; and what holds in its place."""

from collections import Counter
from zlib import crc32

import pytest

from chapters.ch04_replication.losses import ALONE, ASYNC, FAULTS, POLICIES, REPLICATIONS, SYNC, events, loss
from chapters.ch04_replication.naive import Forwarder
from chapters.toy import QUEUES, Broker

MIDNIGHT = [(crc32(event.key.encode()) % QUEUES, event.key, event.body) for event in events()]


def bodies(broker: Broker) -> Counter[bytes]:
    return Counter(body for queue_id in range(QUEUES) for _, body in broker.get(queue_id, 0))


def copy_of(forwarded: int, lose_answer_of: int = -1) -> Broker:
    """LGA takes everything, so many messages are forwarded, then LGA is destroyed."""
    copy = Broker()
    master = Forwarder(copy)
    for message in MIDNIGHT:
        master.put(*message)
    master.forward(forwarded, lose_answer_of)
    return copy


def test_when_nothing_goes_wrong_the_copy_is_complete() -> None:
    assert bodies(copy_of(len(MIDNIGHT))) == Counter(body for _, _, body in MIDNIGHT)


def test_what_was_acknowledged_and_not_yet_forwarded_is_lost_with_the_machine() -> None:
    """At midnight 302 flights are acknowledged at once; a line takes its time."""
    acknowledged = Counter(body for _, _, body in MIDNIGHT)
    for forwarded in (0, 3, 150, 304):
        lost = acknowledged - bodies(copy_of(forwarded))
        assert lost.total() == len(MIDNIGHT) - forwarded == 305 - forwarded


def test_a_copys_answer_that_is_lost_puts_a_flight_there_twice() -> None:
    twice = bodies(copy_of(len(MIDNIGHT) + 1, lose_answer_of=10)) - Counter(body for _, _, body in MIDNIGHT)
    assert list(twice.values()) == [1]


# The same night with the chapter's brokers.


@pytest.mark.parametrize("policy", POLICIES)
def test_a_synchronous_master_may_be_destroyed_at_any_time(policy: str) -> None:
    """I4.2: what it acknowledged is on the slave, also when the line died unnoticed."""
    for fault in ("destroyed", "cut"):
        assert loss(policy, SYNC, fault).missing == 0
    assert loss(policy, SYNC, "cut").acknowledged == 3, "with a dead line it promises nothing any more"


@pytest.mark.parametrize("policy", POLICIES)
def test_an_asynchronous_master_takes_with_it_what_its_dead_line_did_not_carry(policy: str) -> None:
    found = loss(policy, ASYNC, "cut")
    assert (found.acknowledged, found.missing) == (305, 302)


@pytest.mark.parametrize("replication", REPLICATIONS)
def test_a_disk_that_was_waited_for_keeps_everything_unless_it_is_destroyed(replication: str) -> None:
    for fault in ("process", "power", "both"):
        assert loss("SYNC_FLUSH", replication, fault).missing == 0
    assert (loss("SYNC_FLUSH", replication, "destroyed").missing > 0) == (replication == ALONE)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("replication", REPLICATIONS)
def test_the_death_of_a_process_costs_nothing(replication: str, policy: str) -> None:
    assert loss(policy, replication, "process").missing == 0


def test_two_memories_are_no_disk() -> None:
    """SYNC_MASTER acknowledges what a slave has received: a power cut of both takes it from both."""
    found = loss("ASYNC_FLUSH", SYNC, "both")
    assert found.missing > 200 and found.elsewhere == 0


def test_what_a_master_lost_may_lie_on_its_slave_where_nobody_is_sent() -> None:
    found = loss("ASYNC_FLUSH", SYNC, "power")
    assert found.missing == found.elsewhere > 200


def test_every_fault_of_the_table_has_a_row() -> None:
    from chapters.ch04_replication.losses import losses_text

    text = losses_text()
    assert all(text.count(name) == len(REPLICATIONS) for name in FAULTS.values())
