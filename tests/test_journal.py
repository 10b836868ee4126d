"""The journal: order, cost when nobody listens, and the digest."""

from mq.runtime.journal import Event, Journal, digest


def keep() -> tuple[list[Event], Journal, Journal]:
    events: list[Event] = []
    listeners = [events.append]
    return events, Journal("a", lambda: 1.5, listeners), Journal("b", lambda: 2.25, listeners)


def test_two_nodes_write_into_one_order() -> None:
    events, a, b = keep()
    a.record("send")
    b.record("receive", "send", bytes=7)
    a.record("end")
    assert [(event.node, event.kind) for event in events] == [("a", "send"), ("b", "receive"), ("a", "end")]


def test_an_event_is_one_line_with_time_node_kind_fields_and_cause() -> None:
    events, _, b = keep()
    b.record("receive", "a send", bytes=7, peer="a:1")
    assert events[0].text() == "       2.250 b          receive bytes=7 peer=a:1 because a send"


def test_nothing_is_built_when_nobody_listens() -> None:
    asked: list[int] = []

    def clock_ms() -> float:
        asked.append(1)
        return 0.0

    Journal("a", clock_ms).record("send", bytes=7)
    assert asked == [], "record() built an event although nobody listens"


def test_a_complaint_reaches_the_operator_and_the_journal() -> None:
    events: list[Event] = []
    complaints: list[Event] = []
    journal = Journal("a", lambda: 0.0, [events.append], [complaints.append])
    journal.record("send")
    journal.complain("frame refused", size=3)
    assert [event.kind for event in events] == ["send", "frame refused"]
    assert [event.kind for event in complaints] == ["frame refused"]


def test_a_complaint_is_told_even_when_only_the_operator_listens() -> None:
    complaints: list[Event] = []
    Journal("a", lambda: 0.0, [], [complaints.append]).complain("sync failed")
    assert [event.kind for event in complaints] == ["sync failed"]


def test_a_listener_that_comes_later_hears_only_what_comes_later() -> None:
    events, a, b = keep()
    a.record("early")
    late: list[Event] = []
    a.listeners.append(late.append)
    b.record("late")
    assert [event.kind for event in late] == ["late"]
    assert len(events) == 2


def test_the_digest_changes_with_any_field_and_with_the_order() -> None:
    one = Event(1.0, "a", "send", "", (("bytes", 7),))
    other = Event(1.0, "a", "send", "", (("bytes", 8),))
    assert digest([one, other]) == digest([one, other])
    assert len({digest([one]), digest([other]), digest([one, other]), digest([other, one]), digest([])}) == 5
