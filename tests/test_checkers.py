"""The checkers: hand-made histories for every anomaly, and real brokers with a planted mistake."""

import re
from functools import cache

import pytest

from mq.sim.checkers import CHECKERS, examine
from mq.sim.history import History, Record
from mq.sim.judge import judge
from mq.sim.lab import run
from mq.sim.promises import ANOMALIES
from tests.broken_brokers import MISTAKES, TINY_MISTAKES, Mistake, TinyBroker

QUEUE = "flights/a/0"


def record(number: int, place: int | None = None, key: str = "", body: bytes = b"") -> Record:
    place = number if place is None else place
    return Record(key or f"m{number}", body or b"%d" % number, QUEUE, place, 100 * place)


def calm(count: int = 4) -> History:
    """Messages 0 to count-1, sent one after the other, acknowledged, kept and read: nothing is wrong."""
    history = History(topics=("flights",))
    for number in range(count):
        history.send(f"m{number}", "flights", b"%d" % number, "gate", 1_000.0 * number)
        history.tell(f"m{number}", "SEND_OK", 1_000.0 * number + 5, QUEUE, number)
    keep(history, *range(count))
    history.read("board", QUEUE, 0, count, [record(number) for number in range(count)], 9_000)
    history.ended_ms = 10_000
    return history


def keep(history: History, *numbers: int, disk: str = "a", at_ms: float = 10_000) -> None:
    history.keep(disk, [record(number) for number in numbers], at_ms)


def found(history: History) -> list[str]:
    return [str(anomaly) for anomaly in examine(history)]


def test_a_history_in_which_all_went_well_shows_no_anomaly() -> None:
    assert found(calm()) == []


def test_there_is_a_checker_for_every_word_of_the_vocabulary_and_none_beside() -> None:
    assert tuple(CHECKERS) == ANOMALIES


# ---------------------------------------------------------------- one anomaly each


def test_an_acknowledged_message_that_lies_on_no_disk_is_lost() -> None:
    history = calm()
    keep(history, 0, 1, 2)
    history.reads.clear()
    assert found(history) == [
        "lost: message m3 (flights/a/0 @3) was acknowledged at 3005 ms and lies on no disk (looked at: a)"
    ]


@pytest.mark.parametrize("status", ["FLUSH_DISK_TIMEOUT", "FLUSH_SLAVE_TIMEOUT", "SLAVE_NOT_AVAILABLE", ""])
def test_whoever_was_not_told_send_ok_was_promised_nothing(status: str) -> None:
    history = calm()
    history.tell("m3", status, 3_005, QUEUE, 3)
    keep(history, 0, 1, 2)
    history.reads.clear()
    assert found(history) == []


def test_a_message_that_one_of_two_disks_has_is_not_lost() -> None:
    history = calm()
    keep(history, 0, 1, 2, disk="a")
    keep(history, 0, 1, 2, 3, disk="slave")
    assert found(history) == []


def test_a_message_that_was_sent_once_and_lies_there_twice_is_duplicated() -> None:
    history = calm()
    again = Record("m1", b"1", QUEUE, 4, 400)
    history.keep("a", [record(0), record(1), record(2), record(3), again], 10_000)
    assert "duplicated: message m1 was sent once and lies on the disk of a at 100 and at 400" in found(
        history
    )
    history.sent["m1"].may_repeat = True  # its producer tried again by itself
    assert found(history) == []


def test_a_reader_that_is_shown_a_message_twice_is_told_so_unless_it_had_gone_back() -> None:
    history = calm()
    history.read("board", QUEUE, 4, 5, [record(2)], 9_500)
    assert any(
        text.startswith("duplicated: reader board was shown message m2 twice in flights/a/0")
        for text in found(history)
    )
    history = calm()
    history.move("board", QUEUE)
    history.read("board", QUEUE, 2, 4, [record(2), record(3)], 9_500)
    assert found(history) == []


def test_a_message_that_nobody_sent_is_a_phantom_on_a_disk_and_before_a_reader() -> None:
    history = calm()
    history.keep("a", [*[record(number) for number in range(4)], record(4, key="ghost")], 10_000)
    history.read("board", QUEUE, 4, 5, [record(4, key="ghost")], 9_500)
    assert found(history) == [
        "phantom: the disk of a holds message ghost in flights/a/0 @4, and nobody sent it",
        "phantom: reader board was shown message ghost in flights/a/0 @4 at 9500 ms, and nobody sent it",
    ]


def test_a_message_with_another_body_is_a_phantom() -> None:
    history = calm()
    history.read("late", QUEUE, 1, 2, [record(1, body=b"other")], 9_500)
    assert found(history) == [
        "phantom: reader late was shown message m1 in flights/a/0 @1 at 9500 ms, and it was sent with "
        "another body"
    ]


def test_what_a_reader_went_past_and_never_saw_was_skipped() -> None:
    history = calm()
    history.read("late", QUEUE, 0, 4, [record(0), record(1), record(3)], 9_500)
    assert found(history) == [
        "skipped: reader late went past flights/a/0 @2 and never saw message m2, which lies there"
    ]


def test_what_lies_at_the_first_place_that_a_reader_asked_for_and_was_not_shown_was_skipped() -> None:
    history = calm()
    history.read("late", QUEUE, 2, 4, [record(3)], 9_500)
    assert found(history) == [
        "skipped: reader late went past flights/a/0 @2 and never saw message m2, which lies there"
    ]


def test_what_lies_before_a_readers_first_place_or_behind_its_last_was_not_skipped() -> None:
    history = calm()
    history.read("late", QUEUE, 2, 3, [record(2)], 9_500)
    assert found(history) == []


def test_a_reader_that_sees_a_later_message_first_sees_them_out_of_order() -> None:
    history = calm()
    history.read("late", QUEUE, 0, 4, [record(0), record(2), record(1), record(3)], 9_500)
    assert found(history) == [
        "out of order: reader late was shown message m1 (flights/a/0 @1) after message m2 (@2)"
    ]


def test_places_in_two_logs_that_have_diverged_say_nothing_about_order() -> None:
    """The master began anew; its slave still has what a reader had seen before."""
    history = calm()
    history.send("m4", "flights", b"4", "gate", 9_200)
    again = Record("m4", b"4", QUEUE, 4, 250)
    history.read("board", QUEUE, 4, 5, [again], 9_500)
    history.keep("a", [record(0), record(1), again], 10_000)
    assert any(text.startswith("visible before commit: ") for text in found(history)), "they are gone"
    history.keep("as", [record(number) for number in range(4)], 10_000)
    assert not any(text.startswith("out of order: reader") for text in found(history))
    history.keep("as", [*[record(number) for number in range(4)], again], 10_000)
    assert any(text.startswith("out of order: reader") for text in found(history))


def test_the_place_of_a_message_that_has_vanished_says_nothing_about_order() -> None:
    history = calm()
    history.sent["m3"].status = ""
    history.send("m4", "flights", b"4", "gate", 9_200)
    history.keep("a", [record(0), record(1), record(2), Record("m4", b"4", QUEUE, 4, 250)], 10_000)
    history.read("board", QUEUE, 4, 5, [Record("m4", b"4", QUEUE, 4, 250)], 9_500)
    assert [text.partition(":")[0] for text in found(history)] == ["visible before commit"]


def test_whoever_was_sent_after_anothers_acknowledgement_must_lie_behind_it() -> None:
    history = calm(2)
    history.reads.clear()
    history.tell("m0", "SEND_OK", 5, QUEUE, 1)
    history.tell("m1", "SEND_OK", 1_005, QUEUE, 0)
    history.keep("a", [record(1, 0), record(0, 1)], 10_000)
    (text,) = found(history)
    assert text.startswith("out of order: flights/a/0 on a has message m0")
    history.sent["m0"].told_ms = 1_002.0  # they were under way at the same time: either order is right
    assert found(history) == []


def test_half_a_transaction_that_is_seen_is_visible_before_commit() -> None:
    history = calm()
    history.sent["m1"].is_half = True
    assert found(history) == [
        "visible before commit: reader board saw message m1 (flights/a/0 @1) at 9000 ms, before it was "
        "committed"
    ]
    history.decide("m1", "commit", 9_500)
    assert len(found(history)) == 1
    history.decide("m1", "commit", 8_000)
    assert found(history) == []


def test_what_a_reader_saw_and_no_disk_has_was_visible_too_early() -> None:
    history = calm()
    history.sent["m3"].status = ""
    keep(history, 0, 1, 2)
    assert [text[:66] for text in found(history)] == [
        "visible before commit: reader board saw message m3 (flights/a/0 @3"
    ]


def test_a_message_that_is_seen_after_its_rollback_was_resurrected() -> None:
    history = calm()
    history.sent["m1"].is_half = True
    history.decide("m1", "rollback", 2_000)
    assert found(history) == [
        "resurrected after rollback: reader board saw message m1 (flights/a/0 @1) at 9000 ms, and it was "
        "rolled back at 2000 ms"
    ]


def test_a_message_that_a_disk_had_lost_and_has_again_was_resurrected() -> None:
    history = calm()
    history.disks.clear()
    keep(history, 0, 1, at_ms=5_000)
    keep(history, 0, 1, 2, 3)
    assert [text for text in found(history) if "m2" in text] == [
        "resurrected after rollback: message m2 (flights/a/0 @2) was acknowledged at 2005 ms, was gone from "
        "the disk of a at 5000 ms, and is there again"
    ]


def test_a_delayed_message_that_is_seen_before_its_time_is_early() -> None:
    history = calm()
    history.sent["m1"].not_before_ms = 11_000
    assert found(history) == [
        "early: reader board saw message m1 (flights/a/0 @1) at 9000 ms, 2000 ms before its time"
    ]


def test_a_sender_that_was_told_another_place_and_two_disks_that_differ_have_diverged() -> None:
    history = calm()
    history.tell("m1", "SEND_OK", 1_005, QUEUE, 7)
    assert found(history) == [
        "diverged: message m1 (flights/a/0 @7) lies on a in flights/a/0 @1; its sender was told otherwise"
    ]
    history = calm()
    history.sent["m3"].status = ""
    history.send("m4", "flights", b"4", "gate", 3_500)
    history.reads.clear()
    history.keep("slave", [record(0), record(1), record(2), record(4, 3)], 10_000)
    assert found(history) == ["diverged: flights/a/0 @3 is m3 on a and m4 on slave"]


def test_a_log_that_cannot_be_read_to_its_end_has_diverged() -> None:
    history = calm()
    history.keep("b", [], 10_000, "it ends at 400, and at 100: magic 0x00000001")
    assert found(history) == [
        "diverged: the log of b cannot be read to its end: it ends at 400, and at 100: magic 0x00000001"
    ]


@pytest.mark.parametrize(
    ("kind", "how", "bound_ms"),
    [("nameserver", "reset", 1_000), ("nameserver", "silence", 131_000), ("client", "silence", 164_000)],
)
def test_a_route_is_stale_when_it_is_believed_for_longer_than_learning_takes(
    kind: str, how: str, bound_ms: int
) -> None:
    for extra_ms, stale in ((-1, False), (1, True)):
        history = History(nameservers=("n",))
        history.view(0, "who", kind, ("a", "b"))
        history.absent("a", how, 20_000)
        history.view(20_000 + bound_ms + extra_ms, "who", kind, ("b",))
        history.ended_ms = 900_000
        assert bool(found(history)) is stale
        if stale:
            assert re.match(
                rf"stale route: {kind} who still believed in a at .* \({how}\)", found(history)[0]
            )


def test_a_client_that_no_nameserver_answers_may_believe_what_it_remembers() -> None:
    history = History(nameservers=("n",))
    history.view(0, "c", "client", ("a",))
    history.absent("n", "silence", 10_000)
    history.absent("a", "reset", 20_000)
    history.ended_ms = 900_000
    assert found(history) == []
    history.back("n", 100_000)
    assert len(found(history)) == 1


# ---------------------------------------------------------------- brokers with a mistake


@cache
def holds(scenario: str) -> bool:
    return not run(scenario).failed


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_planted_mistake_is_caught_with_its_sentence(mistake: Mistake) -> None:
    outcome = run(mistake.scenario, [mistake.plant])
    sentences = [anomaly.sentence for anomaly in outcome.anomalies if anomaly.kind == mistake.kind]
    assert any(re.search(mistake.says, sentence) for sentence in sentences), outcome.report()
    assert holds(mistake.scenario), "without the mistake the same scenario must be right"


@pytest.mark.parametrize("tiny", TINY_MISTAKES, ids=lambda tiny: tiny.__name__)
def test_a_mistake_of_a_later_floor_is_caught_in_miniature(tiny: type[TinyBroker]) -> None:
    kind, says = tiny.__dict__["kind"], tiny.__dict__["says"]
    sentences = [anomaly.sentence for anomaly in judge(tiny().play()) if anomaly.kind == kind]
    assert any(re.search(says, sentence) for sentence in sentences), sentences


def test_the_tiny_broker_without_a_mistake_shows_no_anomaly() -> None:
    assert found(TinyBroker().play()) == []


def test_a_real_broker_can_show_every_anomaly_but_those_of_transactions_and_delays() -> None:
    """Those of later floors, in their own meaning, come from the tiny broker and from hand-made histories."""
    tiny = {each.__dict__["kind"] for each in TINY_MISTAKES}
    assert tiny == {"visible before commit", "resurrected after rollback", "early"}
    assert {mistake.kind for mistake in MISTAKES} == set(ANOMALIES) - {"early"}
