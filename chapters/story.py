"""January 2013 at New York's three airports, told as events.

Toy, tour, demonstrations, tests and benchmarks all tell this one story, so that a number met in one place
is the same number in another. `january()` gives its 80,476 events in the order they are published.

The rules that turn 27,004 rows (`data/README.md`) into events:

* New York is UTC-5 for the whole month. No zone table is read: a bare machine or a browser has none.
* A flight is *scheduled* at 00:00 New York time of its day: that is when the day's plan is published.
* It is *cancelled* at the instant it was due (521 flights; the data do not say when it was decided).
* It has *departed* at the instant it was due plus its delay, which may be negative.
* It has *arrived* at its departure plus its time in the air. 85 flights left and have no time in the air.
  15 of them have no arrival time either: they never arrive. The other 70 have one (and no arrival delay,
  which marks a diverted flight), in a zone the data do not name: it is read on New York's clock, as its first
  instant after the departure. For a destination to the west that is hours early, and still after it left.

Published order is by time. Events of one instant keep the order of the rows, and one flight's events the
order of its life. Nothing else is promised: here and there an aircraft leaves before it has come.
"""

import csv
import gzip
import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import NamedTuple

DATA = Path(__file__).parent / "data" / "flights-2013-01.csv.gz"
BROKERS = ("EWR", "JFK", "LGA")
"""The three airports name three brokers. They decide which machine fails, not where an event goes."""

SCHEDULED, DEPARTED, ARRIVED, CANCELLED = KINDS = ("scheduled", "departed", "arrived", "cancelled")

NEW_YORK = timezone(timedelta(hours=-5))
MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
START_MS = 1_357_016_400_000
"""2013-01-01T05:00:00Z: midnight in New York, the first event, and where simulated clocks start."""

VERY_LATE_MINUTES = 180
"""A flight that left more than this after it was due is announced like a cancellation, and flies: 201 did."""


class Event(NamedTuple):
    """What happened to one flight. A named tuple: a frozen dataclass takes three times as long to make."""

    when_ms: int
    """Milliseconds since 1970 in UTC, as are all names in `_ms`."""
    kind: str
    flight: str
    """Carrier and number: HA51."""
    day: str
    """The New York day on which it was due: 2013-01-09."""
    due_ms: int
    """When it should leave."""
    tail: str
    """The aircraft: N384HA. Empty for 155 of the cancelled flights, which were never given one."""
    origin: str
    destination: str

    @property
    def key(self) -> str:
        """What must stay in order: the aircraft, or for want of one the flight on its day."""
        return self.tail or self.flight_id

    @property
    def flight_id(self) -> str:
        """Names one of the 27,004 flights: no flight number leaves twice on one day."""
        return f"{self.flight}/{self.day}"

    @property
    def carrier(self) -> str:
        """The airline's two characters."""
        return self.flight[:2]

    @property
    def tag(self) -> str:
        """What a consumer may filter by."""
        return self.flight[:2]

    @property
    def delay_minutes(self) -> int:
        """How long after it was due a departed flight left; below 0 if early. 0 for every other kind."""
        return (self.when_ms - self.due_ms) // MINUTE_MS if self.kind == DEPARTED else 0

    @property
    def body(self) -> bytes:
        """Compact JSON of about 110 bytes, always with these seven members in this order."""
        hour, minute = divmod((self.due_ms - START_MS) % DAY_MS // MINUTE_MS, 60)
        return (
            f'{{"is":"{self.kind}","flight":"{self.flight}/{self.day}","due":"{hour:02}:{minute:02}",'
            f'"at":{self.when_ms},"tail":"{self.tail}","way":"{self.origin}-{self.destination}"}}'
        ).encode()


def parse(body: bytes) -> Event:
    """The event with this body: `parse(event.body) == event`. ValueError or KeyError if it is none."""
    told = json.loads(body)
    flight, day = told["flight"].split("/")
    hour, minute = told["due"].split(":")
    origin, destination = told["way"].split("-")
    due_ms = _midnight_ms(int(day[-2:])) + (int(hour) * 60 + int(minute)) * MINUTE_MS
    return Event(told["at"], told["is"], flight, day, due_ms, told["tail"], origin, destination)


@cache
def january() -> tuple[Event, ...]:
    """All 80,476 events in published order."""
    with gzip.open(DATA, "rt", encoding="ascii", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        events = [event for row in rows for event in _life(row)]
    events.sort(key=lambda event: event.when_ms)  # stable: equal instants keep the order of the rows
    return tuple(events)


def _life(row: list[str]) -> Iterator[Event]:
    """One row of the data as the two or three events of one flight, in the order of its life."""
    day_text, departed, delay, arrived = row[2], row[3], row[5], row[6]
    carrier, number, tail, origin, destination, air_time = row[9:15]
    hour, minute = row[16:18]
    flight, day, tail = carrier + number, f"2013-01-{day_text:0>2}", "" if tail == "NA" else tail
    midnight_ms = _midnight_ms(int(day_text))
    due_ms = midnight_ms + (int(hour) * 60 + int(minute)) * MINUTE_MS
    yield Event(midnight_ms, SCHEDULED, flight, day, due_ms, tail, origin, destination)
    if departed == "NA":
        yield Event(due_ms, CANCELLED, flight, day, due_ms, tail, origin, destination)
        return
    left_ms = due_ms + int(delay) * MINUTE_MS
    yield Event(left_ms, DEPARTED, flight, day, due_ms, tail, origin, destination)
    if air_time != "NA":
        landed_ms = left_ms + int(air_time) * MINUTE_MS
    elif arrived != "NA":
        landed_ms = _first_after(left_ms, arrived)
    else:
        return
    yield Event(landed_ms, ARRIVED, flight, day, due_ms, tail, origin, destination)


def _midnight_ms(day: int) -> int:
    """00:00 in New York on that day of January."""
    return START_MS + (day - 1) * DAY_MS


def _first_after(left_ms: int, clock: str) -> int:
    """The first instant after `left_ms` when New York's clocks show `clock`: 1934, or 29 for 00:29."""
    hour, minute = divmod(int(clock), 100)
    time_of_day_ms = (hour * 60 + minute) * MINUTE_MS
    wait_ms = (time_of_day_ms - (left_ms - START_MS)) % DAY_MS
    return left_ms + (wait_ms or DAY_MS)


def new_york(when_ms: int) -> str:
    """An instant as New York's clocks show it: `Jan 10 06:41`."""
    return datetime.fromtimestamp(when_ms / 1000, NEW_YORK).strftime("%b %d %H:%M")


def new_york_ms(day: int, hour: int = 0, minute: int = 0) -> int:
    """The instant at which New York's clocks show that hour of that day of January."""
    return _midnight_ms(day) + (hour * 60 + minute) * MINUTE_MS
