"""The lean client: one process, one blocking socket, a sliding window, and no trust.

    python -m tests.bench.load '{"address": "127.0.0.1:10911", "topic": "bench", ...}'     (see Job)

What always holds:
* Frames are made before the clock runs, by the project's own encoder, with the fields that a Java client
  sends: KEYS, UNIQ_KEY, TAGS, WAIT. Each has a key and an id of its own.
* At most `window` requests wait for their answers; for each answer that comes, one more is sent.
* Each request must be answered once and with code 0; an answer is found by its opaque. Anything else is a
  fault and no figure.
* The clock stops when the queues hold what was sent: the sum of their maximum offsets has grown by as many
  messages. How long that took after the last answer is told.
* If the job names a slave, there is no figure before its queues hold as much, too, and its log ends where its
  master's does; that is waited for when the clock has stopped.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from mq.commitlog.batch import encode_batch
from mq.commitlog.fastrecord import decode_all
from mq.commitlog.headers import SendMessageRequestHeaderV2
from mq.commitlog.ids import UniqKeys
from mq.commitlog.message import PROPERTY_UNIQ_KEY, PROPERTY_WAIT, Message, encode_properties
from mq.consumequeue.headers import HAS_SUBSCRIPTION, PullMessageHeader, QueueHeader
from mq.routing.headers import CreateTopicHeader
from mq.runtime.real import RealNode
from mq.wire.codec import decode_frame, encode_frame
from mq.wire.codes import RequestCode
from mq.wire.command import RemotingCommand
from mq.wire.headers import encode_header

FIRST_OPAQUE = 1_000_000  # seven digits each, so that every frame of a run has one length
OPAQUE_DIGITS = 7
TIMEOUT_S = 20.0
READ_BYTES = 256 << 10
ASKED = 32  # messages of one pull: what a broker gives at most by default
OPAQUE, CODE_0 = b'"opaque":', b'{"code":0,'
GROUP = "bench"


class Fault(Exception):
    """The figure would be a lie: the sentence says why."""


@dataclass(frozen=True)
class Job:
    """What to do. `amount` counts messages; `kind` is "send" or "pull"."""

    address: str
    amount: int
    kind: str = "send"
    topic: str = "bench"
    queues: int = 8
    window: int = 64
    body_bytes: int = 100
    batch: int = 1
    reads: str = "records"
    """Of a pull: "bytes" (counted), "records" (decoded), "properties" (and their map made)."""
    has_queues: bool = True
    """Whether there are queues whose ends can be asked for. The echo has none."""
    slave: str = ""
    """Of a send: the address of the slave that must have everything afterwards."""


class Wire:
    """A connected socket, read as bytes that end with a whole frame."""

    def __init__(self, made: socket.socket, timeout_s: float = TIMEOUT_S) -> None:
        self.socket = made
        self.socket.settimeout(timeout_s)
        self._rest = b""

    def read(self) -> tuple[bytes, list[int]]:
        """At least one whole frame: the bytes, where each frame begins, and where the last one ends.

        Raises Fault when nothing comes.
        """
        data = self._rest
        while len(bounds := frame_bounds(data)) < 2:
            try:
                more = self.socket.recv(READ_BYTES)
            except TimeoutError:
                more = b""
            if not more:
                raise Fault("nothing more came")
            data += more
        self._rest = data[bounds[-1] :]
        return data, bounds

    def ask(self, code: int, header: object) -> RemotingCommand:
        """One request, and its answer. Raises Fault when that is not success."""
        self.socket.sendall(encode_frame(RemotingCommand(code, encode_header(header), opaque=FIRST_OPAQUE)))
        data, bounds = self.read()
        answer = decode_frame(data[4 : bounds[1]])
        if answer.code != 0:
            raise Fault(f"request {code} was answered with code {answer.code}: {answer.remark}")
        return answer


@contextmanager
def connected(address: str) -> Iterator[Wire]:
    """A connection of its own to `host:port`. Raises OSError."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), TIMEOUT_S) as made:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield Wire(made)


def frame_bounds(data: bytes) -> list[int]:
    """0, and where each whole frame ends."""
    bounds, at, end = [0], 0, len(data)
    while end - at >= 4:
        at += 4 + int.from_bytes(data[at : at + 4], "big")
        if at > end:
            break
        bounds.append(at)
    return bounds


class Answers:
    """Which of the requests have been answered: each once, and with code 0."""

    def __init__(self, requests: int) -> None:
        self.waits = bytearray(b"\1") * requests

    def take(self, data: bytes, bounds: Sequence[int]) -> int:
        """Tick the requests off that these frames answer; returns how many. Raises Fault."""
        waits = self.waits
        for start, end in pairwise(bounds):
            if not data.startswith(CODE_0, start + 8):
                answer = decode_frame(data[start + 4 : end])
                raise Fault(f"request {answer.opaque} was answered with code {answer.code}: {answer.remark}")
            at = data.index(OPAQUE, start) + len(OPAQUE)
            number = int(data[at : at + OPAQUE_DIGITS]) - FIRST_OPAQUE
            if not 0 <= number < len(waits) or not waits[number]:
                raise Fault(f"an answer to request {number}, which was not asked or answered before")
            waits[number] = 0
        return len(bounds) - 1

    def missing(self) -> str:
        """What has not been answered, in words."""
        return f"{sum(self.waits):,} of {len(self.waits):,} requests were never answered"


def pump(wire: Wire, frames: Sequence[bytes], window: int) -> None:
    """Send all frames, at most `window` unanswered at a time. Raises Fault."""
    answers, answered = Answers(len(frames)), 0
    sent = min(window, len(frames))
    wire.socket.sendall(b"".join(frames[:sent]))
    while answered < len(frames):
        try:
            answered += answers.take(*wire.read())
        except Fault as fault:
            raise Fault(f"{fault}; {answers.missing()}") from None
        upto = min(answered + window, len(frames))
        if upto > sent:
            wire.socket.sendall(b"".join(frames[sent:upto]))
            sent = upto


def send_frames(job: Job) -> Iterator[bytes]:
    """The requests, message i to queue i modulo `queues`; a batch goes to one queue."""
    keys, body = UniqKeys(RealNode("bench", ".")), b"x" * job.body_bytes
    code = RequestCode.SEND_MESSAGE_V2 if job.batch == 1 else RequestCode.SEND_BATCH_MESSAGE
    for number in range(job.amount // job.batch):
        messages = []
        for i in range(number * job.batch, (number + 1) * job.batch):
            own = {PROPERTY_UNIQ_KEY: keys.next(), PROPERTY_WAIT: "true"}
            messages.append(Message(job.topic, body, "TagA", f"N{i:07d}", properties=own))
        is_batch = job.batch > 1
        properties = {PROPERTY_WAIT: "true"} if is_batch else messages[0].properties
        header = SendMessageRequestHeaderV2(
            GROUP, job.topic, "TBW102", 4, number % job.queues, 0, int(time.time() * 1000), 0,
            encode_properties(properties), 0, False, None, is_batch,
        )  # fmt: skip
        data = encode_batch(messages) if is_batch else body
        yield encode_frame(RemotingCommand(code, encode_header(header), data, FIRST_OPAQUE + number))


def create_topic(wire: Wire, job: Job) -> None:
    """The topic, with the job's queues."""
    header = CreateTopicHeader(job.topic, "TBW102", job.queues, job.queues, 6, "SINGLE_TAG", 0, False)
    wire.ask(RequestCode.UPDATE_AND_CREATE_TOPIC, header)


def queue_ends(wire: Wire, job: Job) -> list[int]:
    """The maximum offset of each queue."""
    found = []
    for queue_id in range(job.queues):
        answer = wire.ask(RequestCode.GET_MAX_OFFSET, QueueHeader(job.topic, queue_id))
        found.append(int((answer.ext_fields or {})["offset"]))
    return found


def caught_up(wire: Wire, job: Job, wanted: int, timeout_s: float = TIMEOUT_S) -> str:
    """Wait until the queues hold `wanted` messages; returns that in words. Raises Fault."""
    began_s = time.perf_counter()
    while (there := sum(queue_ends(wire, job))) < wanted:
        if time.perf_counter() - began_s > timeout_s:
            raise Fault(f"the queues hold {there:,} messages, and {wanted:,} were sent")
    if there > wanted:
        raise Fault(f"the queues hold {there:,} messages, and only {wanted:,} were sent")
    return f"{(time.perf_counter() - began_s) * 1000:.0f} ms after the last answer"


@dataclass(frozen=True)
class NoFields:
    """The header of a request that has none."""


def log_end(wire: Wire) -> int:
    """The physical offset at which the broker's log ends: code 28, as an operator's tool asks."""
    answer = wire.ask(RequestCode.GET_BROKER_RUNTIME_INFO, NoFields())
    return int(json.loads(answer.body)["table"]["commitLogMaxOffset"])


def same_at_slave(master: Wire, slave: Wire, job: Job, wanted: int, timeout_s: float = TIMEOUT_S) -> str:
    """Wait until the slave's queues hold `wanted` messages, too; returns that in words. Raises Fault."""
    began_s = time.perf_counter()
    try:
        caught_up(slave, job, wanted, timeout_s)
    except Fault as fault:
        raise Fault(f"on the slave {fault}") from None
    later_ms = (time.perf_counter() - began_s) * 1000
    ends = log_end(master), log_end(slave)
    if ends[0] != ends[1]:
        raise Fault(f"the slave's log ends at {ends[1]:,}, its master's at {ends[0]:,}")
    return f"in the slave's queues {later_ms:.0f} ms later, both logs end at {ends[0]:,}"


def send(wire: Wire, job: Job) -> dict[str, Any]:
    """Sends as many messages as the job says."""
    before = 0
    if job.has_queues:
        create_topic(wire, job)
        before = sum(queue_ends(wire, job))
    frames = list(send_frames(job))
    messages, checked = len(frames) * job.batch, "every answer: code 0"
    began_s = time.perf_counter()
    pump(wire, frames, job.window)
    if job.has_queues:
        later = caught_up(wire, job, before + messages)
        checked = f"{messages:,} sent = {messages:,} in the queues, {later}"
    seconds = time.perf_counter() - began_s
    if job.slave:
        with connected(job.slave) as slave:
            told = same_at_slave(wire, slave, job, before + messages)
            checked += f"; {messages:,} sent = {messages:,} {told}"
    return {"seconds": seconds, "messages": messages, "checked": checked}


def pull(wire: Wire, job: Job) -> dict[str, Any]:
    """Reads so many messages, from all queues at once, each from its first message and again."""
    ends = [end for end in queue_ends(wire, job) if end]
    at, pulled = [0] * len(ends), 0
    if not ends:
        raise Fault("the queues are empty")
    began_s = time.perf_counter()
    for queue_id in range(len(ends)):
        wire.socket.sendall(_pull_frame(job, queue_id, 0))
    waiting = len(ends)
    while waiting:
        data, bounds = wire.read()
        for start, end in pairwise(bounds):
            answer = decode_frame(data[start + 4 : end])
            queue_id = answer.opaque - FIRST_OPAQUE
            pulled += received(job, answer, at, queue_id)
            at[queue_id] %= ends[queue_id]
            waiting -= 1
            if pulled + waiting * ASKED < job.amount:
                wire.socket.sendall(_pull_frame(job, queue_id, at[queue_id]))
                waiting += 1
    seconds = time.perf_counter() - began_s
    return {"seconds": seconds, "messages": pulled, "checked": f"{pulled:,} messages, each queue in order"}


def _pull_frame(job: Job, queue_id: int, queue_offset: int) -> bytes:
    header = PullMessageHeader(
        GROUP, job.topic, queue_id, queue_offset, ASKED, HAS_SUBSCRIPTION, 0, 0, 0, "*", "TAG"
    )
    return encode_frame(
        RemotingCommand(RequestCode.PULL_MESSAGE, encode_header(header), opaque=FIRST_OPAQUE + queue_id)
    )


def received(job: Job, answer: RemotingCommand, at: list[int], queue_id: int) -> int:
    """How many messages an answer brings; moves on in the queue. Raises Fault when they are not the next."""
    if answer.code != 0:
        raise Fault(f"a pull was answered with code {answer.code}: {answer.remark}")
    next_offset = int((answer.ext_fields or {})["nextBeginOffset"])
    first, at[queue_id] = at[queue_id], next_offset
    if job.reads != "bytes":
        messages = decode_all(answer.body)
        if [each.queue_offset for each in messages] != list(range(first, next_offset)):
            raise Fault(f"queue {queue_id} from {first}: other messages came than the answer says")
        if job.reads == "properties" and any(each.properties["TAGS"] != "TagA" for each in messages):
            raise Fault(f"queue {queue_id} from {first}: a message without its tag")
    return next_offset - first


def run(job: Job) -> dict[str, Any]:
    """Do the job over one connection of its own. Raises Fault, OSError."""
    with connected(job.address) as wire:
        return {"send": send, "pull": pull}[job.kind](wire, job)


def main(arguments: Sequence[str]) -> int:
    """One job, as JSON; its outcome as JSON in the last line, or a sentence on stderr."""
    try:
        print(json.dumps(run(Job(**json.loads(arguments[0])))))
    except (Fault, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
