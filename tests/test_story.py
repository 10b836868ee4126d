"""Every figure the book gives about January, counted again from the data: first the rows, then the events."""

import csv
import gzip
import json
from collections import Counter, defaultdict
from datetime import UTC, datetime
from functools import cache

from chapters.story import (
    ARRIVED,
    BROKERS,
    CANCELLED,
    DATA,
    DEPARTED,
    KINDS,
    SCHEDULED,
    START_MS,
    VERY_LATE_MINUTES,
    Event,
    january,
    new_york,
    new_york_ms,
    parse,
)


@cache
def rows() -> tuple[dict[str, str], ...]:
    """The data as they are, read without the story's help."""
    with gzip.open(DATA, "rt", encoding="ascii", newline="") as file:
        return tuple(csv.DictReader(file))


def delays() -> list[int]:
    return [int(row["dep_delay"]) for row in rows() if row["dep_delay"] != "NA"]


def of_kind(kind: str) -> list[Event]:
    return [event for event in january() if event.kind == kind]


def java_hash(text: str) -> int:
    """String.hashCode of ASCII text, as an unsigned 32-bit number."""
    value = 0
    for byte in text.encode("ascii"):
        value = (31 * value + byte) % 2**32
    return value


def test_27004_flights_make_80476_events_of_four_kinds() -> None:
    assert len(rows()) == 27_004
    assert Counter(event.kind for event in january()) == {
        SCHEDULED: 27_004,
        DEPARTED: 26_483,
        ARRIVED: 26_468,
        CANCELLED: 521,
    }
    assert len(january()) == 80_476


def test_the_three_airports_name_the_three_brokers_in_the_order_of_their_flights() -> None:
    flights = Counter(event.origin for event in of_kind(SCHEDULED))
    assert flights == {"EWR": 9_893, "JFK": 9_161, "LGA": 7_950}
    assert tuple(name for name, _ in flights.most_common()) == BROKERS


def test_1462_of_3148_aircraft_fly_from_more_than_one_airport() -> None:
    airports: dict[str, set[str]] = defaultdict(set)
    for event in of_kind(SCHEDULED):
        if event.tail:
            airports[event.tail].add(event.origin)
    assert len(airports) == 3_148
    assert sum(len(origins) > 1 for origins in airports.values()) == 1_462


def test_the_storm_cancels_98_on_the_30th_and_85_on_the_31st_more_than_any_other_day() -> None:
    cancelled = Counter(event.day for event in of_kind(CANCELLED))
    assert cancelled.most_common(2) == [("2013-01-30", 98), ("2013-01-31", 85)]
    assert cancelled["2013-01-28"] == 64  # the next


def test_ha51_flies_from_jfk_to_honolulu_once_a_day_and_makes_93_events() -> None:
    hawaiian = [event for event in january() if event.tag == "HA"]
    assert len(hawaiian) == 93
    assert {(event.flight, event.origin, event.destination) for event in hawaiian} == {("HA51", "JFK", "HNL")}
    assert len({event.day for event in hawaiian}) == 31


def test_ha51_of_january_9_left_1301_minutes_late_at_06_41_the_next_day() -> None:
    day = [event for event in january() if event.flight_id == "HA51/2013-01-09"]
    assert [(event.kind, event.delay_minutes, new_york(event.when_ms)) for event in day] == [
        (SCHEDULED, 0, "Jan 09 00:00"),
        (DEPARTED, 1_301, "Jan 10 06:41"),
        (ARRIVED, 0, "Jan 10 17:21"),
    ]
    assert {(new_york(event.due_ms), event.key) for event in day} == {("Jan 09 09:00", "N384HA")}
    assert max(delays()) == 1_301


def test_155_of_the_521_cancelled_flights_have_no_aircraft_and_no_other_flight_lacks_one() -> None:
    assert sum(not event.tail for event in of_kind(CANCELLED)) == 155
    assert sum(not event.tail for event in of_kind(SCHEDULED)) == 155


def test_a_flight_without_an_aircraft_is_keyed_by_its_number_and_day() -> None:
    keys = Counter(event.key for event in of_kind(CANCELLED) if not event.tail)
    assert len(keys) == 155
    assert all("/2013-01-" in key for key in keys)
    assert len({event.key for event in january()}) == 3_148 + 155


def test_a_flight_number_leaves_at_most_once_a_day() -> None:
    assert len({event.flight_id for event in of_kind(SCHEDULED)}) == 27_004


def test_722_flights_are_announced_521_cancelled_and_201_more_than_three_hours_late() -> None:
    very_late = [event for event in of_kind(DEPARTED) if event.delay_minutes > VERY_LATE_MINUTES]
    assert len(very_late) == 201 == sum(delay > 180 for delay in delays())
    assert len(very_late) + len(of_kind(CANCELLED)) == 722


def test_5091_flights_that_left_had_not_left_fifteen_minutes_after_their_time() -> None:
    assert sum(event.delay_minutes >= 15 for event in of_kind(DEPARTED)) == 5_091
    assert sum(delay >= 15 for delay in delays()) == 5_091


def test_593_flights_outlast_the_last_delay_level_of_two_hours() -> None:
    assert sum(event.delay_minutes > 120 for event in of_kind(DEPARTED)) == 593
    assert sum(delay > 120 for delay in delays()) == 593


def test_tags_range_from_united_with_17_percent_to_hawaiian_with_0_116() -> None:
    share = {tag: 100 * count / 80_476 for tag, count in Counter(event.tag for event in january()).items()}
    assert len(share) == 16
    assert max(share, key=share.__getitem__) == "UA"
    assert round(share["UA"]) == 17
    assert round(share["HA"], 3) == 0.116


def test_nine_pairs_of_tail_numbers_have_one_java_hash() -> None:
    same_hash: dict[int, list[str]] = defaultdict(list)
    for tail in sorted({event.tail for event in january()} - {""}):
        same_hash[java_hash(tail)].append(tail)
    collisions = [tails for tails in same_hash.values() if len(tails) > 1]
    assert len(collisions) == 9
    assert all(len(tails) == 2 for tails in collisions)
    assert ["N383SW", "N38458"] in collisions


def test_new_york_is_five_hours_behind_utc_in_every_row() -> None:
    due = {(event.flight_id): event.due_ms for event in of_kind(SCHEDULED)}
    for row in rows():
        hour = datetime.strptime(row["time_hour"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        flight_id = f"{row['carrier']}{row['flight']}/2013-01-{int(row['day']):02}"
        assert due[flight_id] == int(hour.timestamp()) * 1000 + int(row["minute"]) * 60_000, flight_id


def test_a_departure_is_at_the_minute_the_data_write_down() -> None:
    left = {event.flight_id: new_york(event.when_ms)[-5:] for event in of_kind(DEPARTED)}
    for row in rows():
        if row["dep_time"] != "NA":
            flight_id = f"{row['carrier']}{row['flight']}/2013-01-{int(row['day']):02}"
            clock = int(row["dep_time"]) % 2400  # midnight is written 2400
            assert left[flight_id] == f"{clock // 100:02}:{clock % 100:02}", flight_id


def test_of_85_flights_without_a_time_in_the_air_15_never_arrive_and_70_have_an_arrival_time() -> None:
    odd = [row for row in rows() if row["dep_time"] != "NA" and row["air_time"] == "NA"]
    assert len(odd) == 85
    assert all(row["arr_delay"] == "NA" for row in odd)
    arrived = {event.flight_id: event for event in of_kind(ARRIVED)}
    never = 0
    for row in odd:
        flight_id = f"{row['carrier']}{row['flight']}/2013-01-{int(row['day']):02}"
        never += flight_id not in arrived
        assert (flight_id in arrived) == (row["arr_time"] != "NA")
        if flight_id in arrived:
            clock = int(row["arr_time"]) % 2400
            assert new_york(arrived[flight_id].when_ms)[-5:] == f"{clock // 100:02}:{clock % 100:02}"
    assert never == 15


def test_a_flight_is_scheduled_at_midnight_then_departs_then_arrives_within_a_day() -> None:
    life: dict[str, list[Event]] = defaultdict(list)
    for event in january():
        life[event.flight_id].append(event)
    stories = Counter(tuple(event.kind for event in events) for events in life.values())
    assert stories == {
        (SCHEDULED, DEPARTED, ARRIVED): 26_468,
        (SCHEDULED, DEPARTED): 15,
        (SCHEDULED, CANCELLED): 521,
    }
    for events in life.values():
        assert events[0].when_ms == new_york_ms(int(events[0].day[-2:]))
        if len(events) == 3:
            assert 0 < events[2].when_ms - events[1].when_ms < 24 * 3_600_000


def test_published_order_is_by_time_and_ties_keep_the_order_of_the_rows() -> None:
    place = {
        f"{row['carrier']}{row['flight']}/2013-01-{int(row['day']):02}": number
        for number, row in enumerate(rows())
    }
    ranks = [(event.when_ms, place[event.flight_id], KINDS.index(event.kind)) for event in january()]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == 80_476, "the order is not total"


def test_the_first_event_is_at_midnight_in_new_york_which_is_05_00_utc() -> None:
    assert january()[0].when_ms == START_MS == new_york_ms(1)
    assert datetime.fromtimestamp(START_MS / 1000, UTC).isoformat() == "2013-01-01T05:00:00+00:00"


def test_the_data_are_not_plausible_everywhere_some_aircraft_leave_before_they_have_come() -> None:
    in_the_air: set[str] = set()
    twice = 0
    for event in january():
        if event.kind == DEPARTED:
            twice += event.tail in in_the_air
            in_the_air.add(event.tail)
        elif event.kind == ARRIVED:
            in_the_air.discard(event.tail)
    assert twice > 0


def test_a_body_reads_back_as_its_event() -> None:
    for event in january():
        assert parse(event.body) == event


def test_a_body_is_compact_json_of_about_110_bytes_and_no_two_are_equal() -> None:
    bodies = [event.body for event in january()]
    assert bodies[0] == json.dumps(json.loads(bodies[0]), separators=(",", ":")).encode()
    assert 110 <= sum(map(len, bodies)) / len(bodies) < 111
    assert len(set(bodies)) == 80_476
