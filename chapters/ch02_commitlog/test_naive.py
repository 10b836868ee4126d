"""The obvious repair, proved wrong, and the same night with the chapter's log."""

from chapters.ch02_commitlog.demo import JFK, night, unwatched_text
from chapters.ch02_commitlog.naive import FLUSH_EACH, power_goes
from chapters.ch02_commitlog.stores import evening_at


def test_a_file_of_lines_survives_the_death_of_its_process() -> None:
    """So a test that only kills the process would let it pass."""
    shown = power_goes(1, death="process")
    assert (shown.acknowledged, shown.lost, shown.phantom) == (377, 0, 0)


def test_a_file_of_lines_loses_acknowledged_events_with_the_power_and_shows_some_that_nobody_sent() -> None:
    """Twelve nights: what came since the last flush is in doubt, and a torn line looks like a whole one."""
    nights = [power_goes(seed) for seed in range(12)]
    unflushed = len(evening_at(JFK)) % FLUSH_EACH
    assert unflushed == 77
    assert all(0 < each.lost <= unflushed for each in nights)
    assert sum(each.lost == unflushed for each in nights) == 7
    assert sum(each.phantom > 0 for each in nights) == 4
    assert max(each.phantom for each in nights) == 3


def test_of_the_plan_of_the_30th_async_flush_loses_what_sync_flush_keeps() -> None:
    """I2.1: the same night, the same machine, RocketMQ's own settings."""
    lost = {}
    for policy in ("ASYNC_FLUSH", "SYNC_FLUSH"):
        for death in ("process", "power"):
            shown = night(policy, death)
            assert shown.acknowledged == 377
            lost[policy, death] = shown.acknowledged - shown.kept
    assert lost.pop(("ASYNC_FLUSH", "power")) == 301
    assert set(lost.values()) == {0}


def test_the_log_never_shows_an_event_that_nobody_sent() -> None:
    """I2.2, where the file of lines failed: what is kept is a beginning of what was sent."""
    for seed in range(3):
        shown = night("ASYNC_FLUSH", "power", seed)
        assert 0 < shown.kept <= shown.acknowledged


def test_the_table_of_unwatched_bytes_is_complete() -> None:
    text = unwatched_text()
    assert text.endswith("83 of 115 bytes can change without anybody noticing.\n")
