"""What a real broker asks of the kernel for one message: is the data synced before the reply leaves?

    python -m tests.syscalls      one send under each flush policy, traced with strace: five lines each

A real process, a real socket, a real file. Under SYNC_FLUSH the record is written, the sync of its file has
returned, and only then the reply leaves. Under ASYNC_FLUSH the reply leaves first, and the sync comes later:
here, when the broker stops. The exit status is 0 when that is so, 1 when it is not, and 2 when there is no
strace, or none that may trace (Debian: apt-get install strace).
"""

import asyncio
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mq.routing.client import create_topic
from mq.routing.topics import TopicConfig
from mq.runtime.errors import MQError
from mq.runtime.real import RealNode
from mq.wire.client import RpcClient
from mq.wire.codes import RequestCode
from mq.wire.command import RemotingCommand
from mq.wire.rpc import expect_success

ROOT = Path(__file__).resolve().parent.parent
POLICIES = ("SYNC_FLUSH", "ASYNC_FLUSH")
WRITES = ("pwrite64", "pwritev", "pwritev2", "writev", "write")
SENDS = ("sendto", "sendmsg", "write", "writev")
RECEIVES = ("recvfrom", "recvmsg", "read")
SYNCS = ("fsync", "fdatasync")
TRACED = tuple(dict.fromkeys((*WRITES, *SENDS, *RECEIVES, *SYNCS)))
MARK = "HA51 from JFK to HNL at 09:00"  # the body: what is looked for in the trace
SHOWN_BYTES = 400  # of each buffer; the body begins in byte 88 of its record
PATIENCE_S = 60
HEADER = {"a": "traced", "b": "flights", "c": "TBW102", "d": "4", "e": "0", "f": "0", "g": "1357016400000",
          "h": "0"}  # fmt: skip


class NoTrace(Exception):
    """strace is not there, or may not trace. The text is one sentence."""


class WrongOrder(AssertionError):
    """The kernel saw things in another order than the flush policy promises, or not at all."""


@dataclass(frozen=True, slots=True)
class Call:
    """A system call: `began` and `ended` are the lines of the trace that say so."""

    name: str
    path: str  # of its first argument
    text: str  # the other arguments, as strace writes them
    result: str
    began: int
    ended: int


LINE = re.compile(r"(?P<pid>\d+) +(?:<\.\.\. (?P<resumed>\w+) resumed>|(?P<name>\w+)\()(?P<rest>.*)")
FIRST = re.compile(r"\d+<(?P<path>[^>]*)>(?:, )?(?P<text>.*)", re.DOTALL)
END = re.compile(r"\) += (?P<result>-?\w+.*)$")


def calls_in(trace: str) -> list[Call]:
    """The calls of a trace that strace wrote with -f and -y, in the order in which they began."""
    found: list[Call] = []
    open_calls: dict[str, tuple[str, str, int]] = {}  # by thread: name, arguments so far, line
    for number, line in enumerate(trace.splitlines()):
        match = LINE.match(line)
        if match is None:
            continue  # a signal, or the end of a thread
        name, rest, began = match["name"], match["rest"], number
        if match["resumed"]:
            name, before, began = open_calls.pop(match["pid"], (match["resumed"], "", number))
            rest = before + rest
        if rest.endswith("<unfinished ...>"):
            open_calls[match["pid"]] = name, rest.removesuffix("<unfinished ...>"), began
            continue
        end = END.search(rest)
        arguments = FIRST.match(rest[: end.start()] if end else rest)
        path, text = (arguments["path"], arguments["text"]) if arguments else ("", rest)
        found.append(Call(name, path, text, end["result"] if end else "?", began, number))
    return sorted(found, key=lambda call: call.began)


def first(calls: Sequence[Call], what: str, names: Sequence[str], path: str, text: str, after: int) -> Call:
    """The first such call that begins after a line. Raises WrongOrder: it is not there."""
    for call in calls:
        if call.began > after and call.name in names and path in call.path and text in call.text:
            return call
    raise WrongOrder(f"the trace does not show {what}")


def judge(calls: Sequence[Call], policy: str) -> list[str]:
    """Five lines, in the order of the trace. Raises WrongOrder."""
    arrived = first(calls, "the request", RECEIVES, "", MARK, -1)
    written = first(calls, "the record in a segment", WRITES, "/commitlog/", MARK, arrived.ended)
    synced = first(calls, "a sync of that segment", SYNCS, written.path, "", written.ended)
    replied = first(calls, "the reply", SENDS, "socket:", "queueOffset", arrived.ended)
    segment = "/".join(written.path.split("/")[-2:])
    if synced.result != "0":
        raise WrongOrder(f"the sync failed: {synced.result}")
    if replied.began < written.ended:
        raise WrongOrder("the reply leaves before the record is written")
    is_safe = synced.ended < replied.began
    if is_safe != (policy == "SYNC_FLUSH"):
        when = "after" if is_safe else "before"
        raise WrongOrder(f"{policy}: the reply leaves {when} the segment is synced")
    steps = [
        (arrived.ended, f"{arrived.name:<9} the request has arrived"),
        (written.ended, f"{written.name:<9} {segment}: the record is written, {written.result} bytes"),
        (synced.began, f"{synced.name:<9} {segment}: the sync begins"),
        (synced.ended, f"{synced.name:<9} {segment}: the sync has returned"),
        (replied.began, f"{replied.name:<9} the reply leaves"),
    ]
    return [text for _, text in sorted(steps)]


# ---------------------------------------------------------------- the broker under strace


def command(folder: Path, policy: str, program: Sequence[str]) -> list[str]:
    """A broker under strace; a shell in between says its process id first, and becomes the broker."""
    broker = [sys.executable, *program, "broker", "--store", str(folder / "store"), "--namesrv", "",
              "--listen", "127.0.0.1:0", "--set", f"flushDiskType={policy}",
              "--set", "diskSpaceWarningLevelRatio=100"]  # fmt: skip
    strace = ["strace", "-f", "-y", "-q", "-s", str(SHOWN_BYTES), "-e", "signal=none",
              "-e", f"trace={','.join(TRACED)}", "-o", str(folder / "trace")]  # fmt: skip
    return [*strace, "sh", "-c", 'echo $$; exec "$@"', "sh", *broker]


async def traced(folder: Path, policy: str, program: Sequence[str] = ("-m", "mq")) -> list[Call]:
    """Start a broker under strace, send it one message, stop it. Raises NoTrace."""
    if shutil.which("strace") is None:
        raise NoTrace("there is no strace here (Debian: apt-get install strace)")
    running = await asyncio.create_subprocess_exec(
        *command(folder, policy, program),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert running.stdout is not None and running.stderr is not None
    process_id = (await running.stdout.readline()).strip()
    ready = re.search(rb" ready at (\S+),", await running.stdout.readline()) if process_id else None
    if ready is None:
        await running.wait()
        raise NoTrace(f"strace cannot trace here: {(await running.stderr.read()).decode().strip()}")
    try:
        async with asyncio.timeout(PATIENCE_S):
            await send_one(folder, ready[1].decode())
    finally:
        os.kill(int(process_id), signal.SIGTERM)
        await running.wait()
    return calls_in((folder / "trace").read_text(errors="replace"))


async def send_one(folder: Path, address: str) -> None:
    """The topic is there before the message: making one syncs a table, which is another story."""
    client = RpcClient(RealNode("client", str(folder / "client")))
    try:
        await create_topic(client, address, TopicConfig("flights", 1, 1))
        message = RemotingCommand(RequestCode.SEND_MESSAGE_V2, dict(HEADER), MARK.encode())
        expect_success(await client.invoke(address, message, PATIENCE_S * 1000))
    finally:
        client.stop()


def lines_of(policies: Sequence[str], program: Sequence[str] = ("-m", "mq")) -> Iterator[str]:
    """What the command prints. Raises NoTrace, WrongOrder."""
    for policy in policies:
        with tempfile.TemporaryDirectory(prefix="mq-trace-") as folder:
            calls = asyncio.run(traced(Path(folder), policy, program))
        yield policy
        for number, line in enumerate(judge(calls, policy), start=1):
            yield f"  {number}  {line}"


def main() -> int:
    """Both policies. Returns the exit status."""
    try:
        for line in lines_of(POLICIES):
            print(line, flush=True)
    except (WrongOrder, MQError) as error:
        print(f"syscalls: {error}", file=sys.stderr)
        return 1
    except NoTrace as error:
        print(f"syscalls: {error}", file=sys.stderr)
        return 2
    print("syscalls: SYNC_FLUSH syncs before it replies, ASYNC_FLUSH replies before it syncs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
