"""The command line: run a NameServer or a broker, and talk to them.

What always holds: the standard library is enough. What goes wrong is one line on stderr and exit status 1,
a wrong command line is status 2; Ctrl-C ends everything quietly with 130, a server's SIGTERM with 0, and
either way a broker stops as it should. Servers listen on loopback unless told otherwise.

Each command imports what it needs when it runs: a broker of chapter 1 runs without the code of chapter 3.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import ipaddress
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, Protocol

from mq import commands, operate
from mq.commands import GROUP, NAMESRV, complain
from mq.runtime.errors import MQError, SettingsError, StoreError
from mq.runtime.real import RealDisk, RealNode
from mq.runtime.settings import parse_properties

BROKER = "127.0.0.1:10911"
ABOUT = """\
A message broker in the protocol and the files of RocketMQ 4.9.8, in plain Python."""
EXAMPLES = """\
a first minute, in three terminals:
  mq namesrv
  mq broker --store /tmp/store
  mq topic create flights --queues 4
  mq send flights "HA51 left" --tags HA --keys N384HA
  mq pull flights
  mq query --key N384HA
  mq cluster
  mq inspect /tmp/store/commitlog/00000000000000000000

Servers stop on Ctrl-C or SIGTERM; 'mq COMMAND --help' says more about each command."""
BROKERS = """\
examples:
  mq broker                                     all chapters, at 127.0.0.1:10911
  mq broker --chapter 2 --listen 127.0.0.1:0    a log and nothing to read it with, at a free port
  mq broker --set flushDiskType=SYNC_FLUSH      acknowledge what is on disk, not what is in memory
  mq broker --listen 0.0.0.0:10911 --set brokerIP1=192.0.2.7    for other machines

Settings have RocketMQ's names; a name that no chapter knows is refused."""
SENDING = """\
examples:
  mq send flights "HA51 left" --tags HA --keys "N384HA HA51"
  mq send flights --lines < events.txt          each line a message
  mq send flights tick --count 100 --queue broker-a/3"""
PULLING = """\
examples:
  mq pull flights --tags "UA || HA" --max 10
  mq pull flights --queue broker-a/3 --offset 100 --raw"""
INSPECT = """\
kinds: CommitLog segments, ConsumeQueue files, index files, checkpoint, config/*.json.
examples:
  mq inspect store/commitlog/00000000000000000000 --limit 3
  mq inspect store/consumequeue/flights/0/00000000000000000000 --from 100
The exit status is 1 when something is damaged."""
LONGEST_COMMAND = len("completion")
FROM = "begin at this physical offset, queue offset or entry, as the kind of file has it"


Runner = Callable[[argparse.Namespace], int]
Adder = Callable[..., argparse.ArgumentParser]


class Stoppable(Protocol):
    """A server, as this module runs one."""

    @property
    def address(self) -> str:
        """`host:port`."""

    async def start(self) -> None:
        """Begin. Raises MQError or OSError."""

    async def stop(self) -> None:
        """End."""


# ---------------------------------------------------------------- servers


def run_namesrv(options: argparse.Namespace) -> int:
    """`mq namesrv`."""
    from mq.system import build_namesrv

    host, port = split_address(options.listen)
    node = RealNode("namesrv", options.store, host)
    server = build_namesrv(node, {**properties_of(options), "listenPort": str(port)})
    try:
        return asyncio.run(serve(node, server, lambda: f"namesrv ready at {server.address}"))
    except StoreError as error:
        raise StoreError(f"store {options.store}: {error.remark}") from None


def run_broker(options: argparse.Namespace) -> int:
    """`mq broker`."""
    from mq.system import LATEST, BareServer, build_broker

    properties = properties_of(options)
    store = options.store or properties.pop("storePathRootDir", "store")
    host, port = split_address(options.listen or f"127.0.0.1:{properties.get('listenPort', 10911)}")
    if ipaddress.ip_address(host).is_unspecified and "brokerIP1" not in properties:
        raise SettingsError(
            f"clients cannot reach {host}: name the address they use, --set brokerIP1=ADDRESS"
        )
    properties["listenPort"] = str(port)
    if options.namesrv is not None or "namesrvAddr" not in properties:
        properties["namesrvAddr"] = NAMESRV if options.namesrv is None else options.namesrv
    if options.name:
        properties["brokerName"] = options.name
    chapter = LATEST if options.chapter is None else options.chapter
    node = RealNode(properties.get("brokerName", "broker-a"), store, host)
    if chapter == 0:
        bare = BareServer(node, port)
        return asyncio.run(serve(node, bare, lambda: f"{node.name} ready at {bare.address}, chapter 0"))
    broker = build_broker(node, properties, chapter)
    where = f"chapter {chapter}, store {store}"
    try:
        return asyncio.run(serve(node, broker, lambda: f"{node.name} ready at {broker.address}, {where}"))
    except StoreError as error:
        raise StoreError(f"store {store}: {error.remark}") from None


async def serve(node: RealNode, server: Stoppable, ready: Callable[[], str]) -> int:
    """Run until a signal comes; returns the exit status. A second signal does not wait for the end."""
    node.journal.complaint_listeners.append(complain)
    loop, caught = asyncio.get_running_loop(), asyncio.Event()
    heard: list[int] = []

    def stop_on(number: int) -> None:
        heard.append(number)
        loop.remove_signal_handler(number)
        caught.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop_on, number)
    await server.start()
    print(ready(), flush=True)
    await caught.wait()
    await server.stop()
    node.real_disk.close()
    return 130 if heard[0] == signal.SIGINT else 0


def split_address(text: str) -> tuple[str, int]:
    """`HOST:PORT`, `:PORT` or `PORT`. Raises SettingsError."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]").replace("localhost", "127.0.0.1") or "127.0.0.1"
    try:
        ipaddress.ip_address(host)
        number = int(port)
    except ValueError:
        raise SettingsError(
            f"{text!r} is not HOST:PORT with an IP address, such as 127.0.0.1:10911"
        ) from None
    if not 0 <= number <= 65_535:
        raise SettingsError(f"{text!r}: a port is 0 to 65535, and 0 takes a free one")
    return host, number


def properties_of(options: argparse.Namespace) -> dict[str, str]:
    """What the configuration file says, and over it what `--set` says."""
    properties: dict[str, str] = {}
    if options.config:
        with open(options.config, encoding="utf-8") as file:
            properties = parse_properties(file.read())
    for pair in options.set:
        properties |= parse_properties(pair)
    return properties


def run_inspect(options: argparse.Namespace) -> int:
    """`mq inspect`."""
    from mq.inspect import inspect

    damages = 0
    for path in options.file:
        if os.path.isdir(path):
            raise MQError(f"{path} is a directory: name a file in it")
        damages += inspect(RealDisk(""), path, print, options.limit, options.start)
    return 1 if damages else 0


def run_completion(options: argparse.Namespace) -> int:
    """`mq completion`."""
    from mq.completion import script

    print(script(build_parser(), options.shell), end="")
    return 0


# ---------------------------------------------------------------- the command line


class Parser(argparse.ArgumentParser):
    """Complains in one line, and keeps the lines of its texts as they are written."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"formatter_class": HelpFormatter, **kwargs})

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(2)


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Shows the default of each option that has one, and each command on one line."""

    def __init__(self, prog: str, **kwargs: Any) -> None:
        super().__init__(prog, **kwargs)
        self._action_max_length = LONGEST_COMMAND + 4  # argparse forgets by how much commands are indented

    def _get_help_string(self, action: argparse.Action) -> str | None:
        shown = action.default not in (None, False, [], argparse.SUPPRESS) and action.option_strings
        return f"{action.help} (default: %(default)s)" if shown else action.help


def build_parser() -> Parser:
    """The whole command line."""
    parser = Parser(prog="mq", description=ABOUT, epilog=EXAMPLES)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, dest="command")
    add = functools.partial(_command, commands)
    _servers(add)
    _topics(add)
    _messages(add)
    _operators(add)
    look = add("inspect", "show what lies in files of a store, and what is damaged", run_inspect, INSPECT)
    look.add_argument("file", nargs="+", metavar="FILE")
    look.add_argument("--limit", type=natural, default=10, metavar="N", help="records or entries to show")
    look.add_argument("--from", dest="start", type=natural, metavar="N", help=FROM)
    return parser


def _command(commands: Any, name: str, about: str, run: Runner, epilog: str = "") -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=about, description=about[0].upper() + about[1:] + ".", epilog=epilog
    )
    parser.set_defaults(run=run, prog=parser.prog)
    return parser


def _servers(add: Adder) -> None:
    namesrv = add("namesrv", "run a NameServer: it knows which broker has which topic", run_namesrv)
    namesrv.add_argument("--listen", default=NAMESRV, metavar="HOST:PORT", help="port 0 takes a free one")
    namesrv.add_argument("--store", default="store", metavar="DIR", help="where its table of keys is")
    broker = add("broker", "run a broker", run_broker, BROKERS)
    broker.add_argument(
        "--chapter", type=natural, metavar="N", help="the floors up to chapter N (default: all)"
    )
    broker.add_argument("--namesrv", metavar="A;B", help=f"NameServers, or '' for none (default: {NAMESRV})")
    broker.add_argument("--listen", metavar="HOST:PORT", help=f"port 0 takes a free one (default: {BROKER})")
    broker.add_argument("--store", metavar="DIR", help="where its files are (default: store)")
    broker.add_argument("--name", help="its name (default: broker-a)")
    for server in (namesrv, broker):
        server.add_argument("--config", metavar="FILE", help="settings, as lines `key = value`")
        server.add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, over the file's"
        )


def _topics(add: Adder) -> None:
    topic = add("topic", "create, list or delete topics", lambda options: 2)
    under = topic.add_subparsers(title="commands", metavar="COMMAND", required=True, dest="command")
    create = _client(
        _command(under, "create", "create or change a topic, on every broker", talk(commands.create_topic))
    )
    create.add_argument("topic", metavar="TOPIC")
    create.add_argument("--queues", type=natural, default=8, metavar="N", help="queues on each broker")
    create.add_argument("--perm", choices=["r", "w", "rw"], default="rw", help="may be read, written")
    create.add_argument(
        "--broker", action="append", metavar="NAME", help="on this one alone; may be repeated"
    )
    listing = _client(_command(under, "list", "list the topics of all brokers", talk(commands.list_topics)))
    listing.add_argument("--all", action="store_true", help="the brokers' own topics too")
    deleting = _client(
        _command(under, "delete", "delete a topic, everywhere", talk(operate.delete_topic), operate.DELETING)
    )
    deleting.add_argument("topic", metavar="TOPIC")
    route = _client(add("route", "show where a topic's queues are", talk(commands.show_route)))
    route.add_argument("topic", metavar="TOPIC")


def _messages(add: Adder) -> None:
    sender = _client(add("send", "send messages", talk(commands.send), SENDING), GROUP)
    sender.add_argument("topic", metavar="TOPIC")
    sender.add_argument("body", nargs="?", metavar="BODY", help="- or nothing: read standard input")
    sender.add_argument("--tags", metavar="TAG", help="one tag, to filter by")
    sender.add_argument("--keys", metavar="KEYS", help="keys to find it by, with blanks between them")
    sender.add_argument("--queue", metavar="[BROKER/]N", help="this queue (default: one after the other)")
    sender.add_argument("--count", type=natural, default=1, metavar="N", help="send it so often")
    sender.add_argument(
        "--lines", action="store_true", help="each line of standard input is a message; empty ones are none"
    )
    puller = _client(
        add("pull", "read messages of a topic, queue by queue", talk(commands.pull), PULLING), GROUP
    )
    puller.add_argument("topic", metavar="TOPIC")
    puller.add_argument("--queue", metavar="[BROKER/]N", help="this queue alone (default: all)")
    start = puller.add_mutually_exclusive_group()
    start.add_argument("--offset", type=natural, metavar="N", help="begin there (default: the first)")
    start.add_argument("--since", type=moment, metavar="TIME", help="begin at what was stored then (UTC)")
    puller.add_argument("--max", type=natural, default=32, metavar="N", help="messages at most")
    puller.add_argument("--tags", default="*", metavar="EXPR", help="such as 'UA || HA'")
    finder = _client(add("query", "find messages by key or id", talk(commands.query)), GROUP)
    sought = finder.add_mutually_exclusive_group(required=True)
    sought.add_argument("--key", metavar="KEY", help="one of its keys, or the id that its producer gave it")
    sought.add_argument("--id", metavar="ID", help="the offset message id that `mq send` printed")
    finder.add_argument("--topic", metavar="TOPIC", help="in this topic alone (default: all)")
    finder.add_argument(
        "--max", type=natural, default=32, metavar="N", help="messages of each broker at most"
    )
    for reader in (puller, finder):
        reader.add_argument("--raw", action="store_true", help="the bodies alone, one a line")


def _operators(add: Adder) -> None:
    _client(
        add("cluster", "show brokers: where, what, since when", talk(operate.show_cluster), operate.CLUSTER)
    )
    about = "show how far a group has come in a topic, or change it"
    offset = _client(add("offset", about, talk(operate.show_offsets), operate.OFFSETS), GROUP)
    offset.add_argument("topic", metavar="TOPIC")
    offset.add_argument("--queue", metavar="[BROKER/]N", help="this queue alone (default: all)")
    offset.add_argument("--reset", type=moment, metavar="WHERE", help="earliest, latest, or a time (UTC)")
    completion = add("completion", "print completion for a shell", run_completion, operate.COMPLETION)
    completion.add_argument("shell", choices=["bash", "zsh"], metavar="SHELL", help="bash or zsh")


def _client(parser: argparse.ArgumentParser, group: str | None = None) -> argparse.ArgumentParser:
    parser.add_argument("--namesrv", default=NAMESRV, metavar="A;B", help="NameServers")
    if group:
        parser.add_argument("--group", default=group, help="producer or consumer group")
    return parser


def natural(text: str) -> int:
    """A whole number that is not below 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def moment(text: str) -> str:
    """`earliest`, `latest` or a time."""
    if text not in ("earliest", "latest"):
        try:
            commands.time_of(text)
        except (ValueError, OverflowError):
            wanted = "earliest, latest, 2013-01-01T06:00 or milliseconds since 1970"
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}") from None
    return text


def talk(work: Callable[[argparse.Namespace], Coroutine[Any, Any, None]]) -> Runner:
    """A client command as something that returns an exit status."""

    def run(options: argparse.Namespace) -> int:
        asyncio.run(work(options))
        return 0

    return run


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    options = build_parser().parse_args(arguments)
    try:
        status = options.run(options)
        sys.stdout.flush()
        return int(status)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
    except MQError as error:
        what = error.remark
    except Exception as error:  # a fault of ours is one line too, unless somebody hunts it
        if os.environ.get("MQ_TRACEBACK"):
            raise
        what = f"{type(error).__name__}: {error} (a fault of mq itself; MQ_TRACEBACK=1 shows where)"
    print(f"{options.prog}: {what}".replace("\n", " "), file=sys.stderr)
    return 1
