"""The obvious repair: a broker registers when it starts and says goodbye when it stops.

The producer of the toy asked for the route once and never again. This one asks before every send, so it
always has the newest route there is. A broker that closes in good order is gone from the next route on.

What it forgets: a machine that loses its power says goodbye to nobody.
"""

from chapters.story import BROKERS, january, new_york_ms
from chapters.toy import Broker, NameServer, Producer

CLOSED_MS = new_york_ms(30, 12)
"""LGA closes in the storm, on the 30th at noon, and stays closed."""


class NoAnswer(Exception):
    """Nobody is at this address any more."""


class Machine(Broker):
    """A broker on a machine that can stop."""

    is_on = True

    def put(self, queue_id: int, key: str, body: bytes) -> None:
        if not self.is_on:
            raise NoAnswer
        super().put(queue_id, key, body)


class CarefulProducer(Producer):
    """Asks for the route before every send, and counts the sends that nobody answered."""

    def __init__(self, names: NameServer) -> None:
        super().__init__(names)
        self.names = names
        self.unanswered = 0

    def send(self, key: str, body: bytes) -> None:
        self.route = self.names.route()
        try:
            super().send(key, body)
        except NoAnswer:
            self.unanswered += 1


def unanswered_sends(says_goodbye: bool, until_ms: int | None = None) -> int:
    """Publish January with LGA closing at noon on the 30th: how many sends went to an address that is dead.

    `until_ms` ends the story early.
    """
    names, machines = NameServer(), {name: Machine() for name in BROKERS}
    for name in BROKERS:
        names.register(name, machines[name])
    producer = CarefulProducer(names)
    for event in january():
        if event.when_ms >= CLOSED_MS and machines["LGA"].is_on:
            machines["LGA"].is_on = False
            if says_goodbye:
                del names.brokers["LGA"]
        if until_ms is None or event.when_ms < until_ms:
            producer.send(event.key, event.body)
    return producer.unanswered
