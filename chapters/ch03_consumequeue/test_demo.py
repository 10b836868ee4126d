"""The demonstration says what is true."""

from chapters.ch03_consumequeue import demo
from chapters.story import new_york, parse


def test_the_display_reads_one_queue_and_leaves_the_others_alone() -> None:
    everything, queue, tag, key = demo.run().ways
    assert everything.records == demo.run().events
    assert queue.records == queue.entries < everything.records / 5
    assert tag.entries == queue.entries and tag.records < 10
    assert key.records == 2
    assert {way.found for way in demo.run().ways} == {2}, "every way finds the same two events"


def test_the_hero_was_scheduled_for_the_9th_and_left_on_the_10th() -> None:
    told = [parse(message.body) for message in demo.run().story]
    assert [new_york(event.when_ms) for event in told] == ["Jan 09 00:00", "Jan 10 06:41"]
    assert told[1].delay_minutes == 1_301


def test_the_bytes_on_the_disk_name_each_other() -> None:
    """I3.1, in the picture: the entry says where the record is, and the record says which entry it has."""
    text = demo.run().files
    first = demo.run().story[0]
    assert f"{first.physical_offset:016x}" in text and f"{first.queue_offset:016x}" in text
