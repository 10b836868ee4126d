"""A message broker on one page.

Three ideas, and the rest of the book is what it takes to keep them true. A **log**: every message is
appended to one run of bytes and never moved. A **queue**: a list of positions in that log, so that a reader
finds its next message without looking at the others. A **key**: all messages of one key go to one queue, so
they are read in the order in which they were sent.

There are no sockets, files or tasks here, and one topic. `python3 -m chapters.toy` runs all of January
through it with nothing installed; `python3 -m chapters.toy --list` shows the twelve ways in which it fails.
"""

import sys
from collections.abc import Iterator
from operator import itemgetter
from zlib import crc32

from chapters.story import BROKERS, january, new_york, parse

QUEUES = 8
"""How many queues each broker has."""

Message = tuple[str, bytes]
"""A key and a body."""


class Damaged(Exception):
    """The bytes at this position of the log are not a record that was written there."""


class Broker:
    """One machine: a log that holds every message, and queues that remember where."""

    def __init__(self) -> None:
        self.log = bytearray()
        self.queues: list[list[int]] = [[] for _ in range(QUEUES)]

    def put(self, queue_id: int, key: str, body: bytes) -> None:
        """Append a record (length, checksum, key, newline, body) and remember its position in the queue."""
        record = key.encode() + b"\n" + body
        self.queues[queue_id].append(len(self.log))
        self.log += len(record).to_bytes(4, "big") + crc32(record).to_bytes(4, "big") + record

    def read(self, position: int) -> Message:
        """The message at a position of the log. Raises Damaged if the checksum is not that of its bytes."""
        length = int.from_bytes(self.log[position : position + 4], "big")
        checksum = int.from_bytes(self.log[position + 4 : position + 8], "big")
        record = self.log[position + 8 : position + 8 + length]
        if not 0 < length == len(record) or crc32(record) != checksum:  # crc32 of nothing is 0
            raise Damaged(position)
        key, _, body = record.partition(b"\n")
        return key.decode(), bytes(body)

    def get(self, queue_id: int, queue_offset: int) -> list[Message]:
        """The messages of a queue from the `queue_offset`-th on, counted from 0."""
        return [self.read(position) for position in self.queues[queue_id][queue_offset:]]


Queue = tuple[Broker, int]
"""A broker and the number of one of its queues."""


class NameServer:
    """Knows which machine has which name. Brokers register and clients ask; no message passes through it."""

    def __init__(self) -> None:
        self.brokers: dict[str, Broker] = {}

    def register(self, name: str, broker: Broker) -> None:
        """From now on this machine has this name."""
        self.brokers[name] = broker

    def route(self) -> list[Queue]:
        """All queues of all brokers as one list, in the order of names: every client gets the same list."""
        return [(self.brokers[name], queue_id) for name in sorted(self.brokers) for queue_id in range(QUEUES)]


def choose(route: list[Queue], key: str) -> Queue:
    """The one queue for a key."""
    return route[crc32(key.encode()) % len(route)]


class Producer:
    """Asks for the route once, then sends each message to the queue of its key."""

    def __init__(self, names: NameServer) -> None:
        self.route = names.route()

    def send(self, key: str, body: bytes) -> None:
        """Returning is the acknowledgement: the broker has the message."""
        broker, queue_id = choose(self.route, key)
        broker.put(queue_id, key, body)


class Consumer:
    """Reads some queues, and counts how far it has come in each."""

    def __init__(self, queues: list[Queue]) -> None:
        self.queues = queues
        self.next_offsets = [0] * len(queues)

    def poll(self) -> Iterator[Message]:
        """What came since the last poll, queue by queue."""
        for i, (broker, queue_id) in enumerate(self.queues):
            news = broker.get(queue_id, self.next_offsets[i])
            self.next_offsets[i] += len(news)
            yield from news


def main() -> None:
    """Publish January, read it back, and show where HA51 lies in it."""
    names, sent = NameServer(), [(event.key, event.body) for event in january()]
    for name in BROKERS:
        names.register(name, Broker())
    producer, consumer = Producer(names), Consumer(names.route())
    for key, body in sent:
        producer.send(key, body)
    read = list(consumer.poll())
    same = sorted(read, key=itemgetter(0)) == sorted(sent, key=itemgetter(0))  # keeps the order within a key
    print(f"January: {len(sent):,} events sent, {len(read):,} read, each aircraft's in order: {same}.\n")
    broker, queue_id = choose(producer.route, "N384HA")
    print(f"A log is bytes         {broker.log[:24].hex(' ', -4)} ...")
    print(f"                       length   checksum {bytes(broker.log[8:24])!r} ...")
    print(f"A queue is positions   {' -> '.join(map(str, broker.queues[queue_id][:8]))} -> ...\n")
    print(f"HA51 of January 9 is aircraft N384HA, and queue {queue_id} of one broker tells its story:")
    for event in (parse(body) for _, body in broker.get(queue_id, 0) if b'HA51/2013-01-09"' in body):
        print(f"    {new_york(event.when_ms)}   {event.kind:9}   due {new_york(event.due_ms)}")


if __name__ == "__main__":
    from chapters import breaks

    sys.exit(breaks.main(sys.argv[1:]))
