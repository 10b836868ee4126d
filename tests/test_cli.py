"""The command line, as a person or a script meets it: real processes on free ports of this machine.

Every process runs with `-S`: without site-packages, so the standard library alone must do.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mq.commitlog.hosts import encode_host
from mq.commitlog.record import BLANK_MAGIC, encode_record
from mq.inspect import ENTRY, INDEX_ENTRY, INDEX_HEAD, inspect
from mq.runtime.real import RealDisk

ROOT = Path(__file__).resolve().parent.parent
MQ = [sys.executable, "-S", "-m", "mq"]
COMMANDS = [
    "namesrv", "broker", "topic", "route", "send", "pull", "query", "cluster", "offset", "completion",
    "inspect",
]  # fmt: skip


def mq(*arguments: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    """One command, to its end."""
    return subprocess.run(
        [*MQ, *arguments], cwd=ROOT, input=stdin, capture_output=True, timeout=60, check=False
    )


def lines(done: "subprocess.CompletedProcess[bytes]") -> list[str]:
    """What a command that went well printed."""
    assert (done.returncode, done.stderr.decode()) == (0, ""), done
    return done.stdout.decode().splitlines()


@contextmanager
def server(*arguments: str) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """A server, once it is ready, and the line that says so. It is killed if it does not end by itself."""
    process = subprocess.Popen(
        [*MQ, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    with process:
        assert process.stdout is not None and process.stderr is not None
        try:
            ready = process.stdout.readline().decode().strip()
            assert " ready at " in ready, process.stderr.read().decode()
            yield process, ready
        finally:
            process.kill()


def address_in(ready: str) -> str:
    return ready.split(" ready at ")[1].split(",")[0]


@pytest.fixture(name="namesrv", scope="module")
def _namesrv() -> Iterator[str]:
    with server("namesrv", "--listen", "127.0.0.1:0") as (_, ready):
        yield address_in(ready)


@pytest.fixture(name="store", scope="module")
def _store(namesrv: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The store of a broker that runs."""
    store = tmp_path_factory.mktemp("broker") / "store"
    with server(
        "broker", "--namesrv", namesrv, "--listen", "127.0.0.1:0", "--store", str(store),
        "--set", "mappedFileSizeCommitLog=1048576", "--set", "diskSpaceWarningLevelRatio=100",
        "--set", "cleanFileForciblyEnable=false",
    ):  # fmt: skip
        yield store


# ---------------------------------------------------------------- help and errors


def test_the_help_names_every_command_and_shows_a_first_minute() -> None:
    shown = lines(mq("--help"))
    for command in COMMANDS:
        assert any(line.startswith(f"    {command} ") for line in shown), f"{command} is missing"
    assert "  mq broker --store /tmp/store" in shown
    assert max(map(len, shown)) <= 100


@pytest.mark.parametrize("command", [*COMMANDS, "topic create", "topic list", "topic delete"])
def test_each_command_explains_itself(command: str) -> None:
    shown = lines(mq(*command.split(), "--help"))
    assert shown[0].startswith(f"usage: mq {command} [-h]")
    assert shown.index("options:") > 0


def test_help_shows_defaults_and_no_default_of_what_has_none() -> None:
    text = "\n".join(lines(mq("send", "--help")))
    assert "(default: 127.0.0.1:9876)" in text and "(default: 1)" in text
    assert "(default: None)" not in text and "(default: False)" not in text


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        ("", 2, "mq: the following arguments are required: COMMAND (see mq --help)"),
        ("sned x", 2, "mq: argument COMMAND: invalid choice: 'sned'"),
        ("send", 2, "mq send: the following arguments are required: TOPIC (see mq send --help)"),
        ("pull T --max many", 2, "mq pull: argument --max: 'many' is not a whole number"),
        ("topic create T --perm q", 2, "mq topic create: argument --perm: invalid choice: 'q'"),
        (
            "offset T --reset soon",
            2,
            "mq offset: argument --reset: 'soon' is not earliest, latest, 2013",
        ),
        ("completion fish", 2, "mq completion: argument SHELL: invalid choice: 'fish'"),
        ("cluster --namesrv 127.0.0.1:1", 1, "mq cluster: cannot connect to 127.0.0.1:1: "),
        ("route T --namesrv 127.0.0.1:1", 1, "mq route: cannot connect to 127.0.0.1:1: "),
        ("broker --listen nowhere", 1, "mq broker: 'nowhere' is not HOST:PORT"),
        ("broker --listen 127.0.0.1:99999", 1, "mq broker: '127.0.0.1:99999': a port is 0 to 65535"),
        ("broker --listen 0.0.0.0:0", 1, "mq broker: clients cannot reach 0.0.0.0: name the address"),
        ("broker --set flushDiskTyp=X", 1, "mq broker: unknown setting 'flushDiskTyp'; known are: "),
        ("broker --set flushDiskType=X", 1, "mq broker: flushDiskType = 'X': it must be one of "),
        ("broker --set nonsense", 1, "mq broker: line 1: 'nonsense' is not 'key = value'"),
        ("broker --config /no/such", 1, "mq broker: /no/such: No such file or directory"),
        ("broker --chapter 99", 1, "mq broker: chapter 99 has no broker"),
        ("inspect /no/such", 1, "mq inspect: /no/such: No such file or directory"),
        ("inspect README", 1, "mq inspect: README: No such file or directory"),
        ("inspect tests", 1, "mq inspect: tests is a directory: name a file in it"),
        ("inspect Makefile", 1, "mq inspect: Makefile is no file of a store"),
    ],
)
def test_what_goes_wrong_is_one_line_and_a_status(arguments: str, status: int, sentence: str) -> None:
    done = mq(*arguments.split())
    said = done.stderr.decode()
    assert said.startswith(sentence), said
    assert (done.returncode, said.count("\n"), done.stdout) == (status, 1, b""), done


def test_a_port_that_is_taken_is_one_line(namesrv: str) -> None:
    done = mq("namesrv", "--listen", namesrv)
    assert done.returncode == 1 and done.stderr.count(b"\n") == 1
    assert b"in use" in done.stderr, done.stderr


# ---------------------------------------------------------------- servers


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_stops_a_broker_quietly_and_cleanly(tmp_path: Path, number: int, status: int) -> None:
    arguments = ("--listen", "127.0.0.1:0", "--namesrv", "", "--store", str(tmp_path))
    with server("broker", *arguments) as (process, ready):
        assert (tmp_path / "abort").exists(), "a running broker's store must say that it was not closed"
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (status, b"", b"")
        assert not (tmp_path / "abort").exists(), "the abort file is still there"
    assert ready.startswith("broker-a ready at 127.0.0.1:") and f"store {tmp_path}" in ready


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_stops_a_namesrv_quietly(number: int, status: int) -> None:
    with server("namesrv", "--listen", "127.0.0.1:0") as (process, ready):
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (status, b"", b"")
    assert ready.startswith("namesrv ready at 127.0.0.1:")


def test_what_an_operator_should_know_is_one_line_on_stderr(tmp_path: Path) -> None:
    with server("namesrv", "--listen", "127.0.0.1:0") as (process, ready):
        host, _, port = address_in(ready).rpartition(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert connection.recv(1) == b"", "a stranger's connection is still open"
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert err.decode().startswith("namesrv: connection closed peer=127.0.0.1:")
    assert b"reason=frame length" in err and err.count(b"\n") == 1


def test_a_second_broker_on_a_store_is_refused(store: Path) -> None:
    done = mq("broker", "--listen", "127.0.0.1:0", "--namesrv", "", "--store", str(store))
    assert done.returncode == 1
    assert done.stderr.decode() == f"mq broker: store {store}: lock: another broker has this store open\n"


def test_settings_come_from_the_file_and_over_it_from_the_command_line(tmp_path: Path) -> None:
    config = tmp_path / "broker.conf"
    config.write_text(f"# ours\nbrokerName = from-file\nstorePathRootDir={tmp_path}/s\nlistenPort = 1\n")
    arguments = ("--config", str(config), "--listen", "127.0.0.1:0", "--namesrv", "")
    with server("broker", *arguments) as (_, ready):
        assert ready.startswith("from-file ready") and ready.endswith(f"store {tmp_path}/s")
    with server("broker", *arguments, "--set", "brokerName=said", "--chapter", "1") as (_, ready):
        assert ready.startswith("said ready") and ", chapter 1," in ready
    with server("broker", *arguments, "--name", "named", "--set", "brokerName=said") as (_, ready):
        assert ready.startswith("named ready")


def test_a_broker_of_chapter_2_stores_and_cannot_be_read(namesrv: str, tmp_path: Path) -> None:
    common = ("--listen", "127.0.0.1:0", "--store", str(tmp_path))
    with server("broker", "--namesrv", namesrv, "--chapter", "2", "--name", "two", *common) as (process, _):
        at = ("--namesrv", namesrv)
        lines(mq("topic", "create", "OnlyTwo", "--broker", "two", "--queues", "1", *at))
        assert lines(mq("send", "OnlyTwo", "x", *at))[0].startswith("SEND_OK  two/0 #0  ")
        done = mq("pull", "OnlyTwo", *at)
        assert done.returncode == 1 and b"not supported" in done.stderr and done.stderr.count(b"\n") == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


# ---------------------------------------------------------------- topics and messages


def test_a_topic_is_created_listed_and_routed(namesrv: str, store: Path) -> None:
    at = ("--namesrv", namesrv)
    assert lines(mq("topic", "create", "gates", "--queues", "3", *at)) == ["gates: 3 queues on broker-a"]
    listed = lines(mq("topic", "list", *at))
    assert "gates" in listed and not {"TBW102", "broker-a", "DefaultCluster", "SELF_TEST_TOPIC"} & {*listed}
    assert {"TBW102", "broker-a", "gates"} <= {*lines(mq("topic", "list", "--all", *at))}
    master, queues = lines(mq("route", "gates", *at))
    assert master.split()[:2] == ["broker-a", "master"]
    assert queues.split() == ["broker-a", "queues", "write", "3", "read", "3", "perm", "rw"]
    done = mq("topic", "create", "gates", "--broker", "nobody", *at)
    assert done.returncode == 1
    assert done.stderr.decode() == "mq topic create: no master of 'nobody' is known; there are: broker-a\n"


def test_what_is_sent_is_pulled_found_by_key_and_seen_on_disk(namesrv: str, store: Path) -> None:
    at = ("--namesrv", namesrv)
    lines(mq("topic", "create", "flights", "--queues", "2", *at))
    sent = lines(
        mq("send", "flights", "HA51 left", "--tags", "HA", "--keys", "N384HA HA51", "--queue", "1", *at)
    )
    status, place, queue_offset, message_id = sent[0].split()
    assert (status, place, queue_offset, len(message_id)) == ("SEND_OK", "broker-a/1", "#0", 32)
    lines(mq("send", "flights", "UA1 left", "--tags", "UA", "--queue", "broker-a/0", "--count", "2", *at))
    pulled = lines(mq("pull", "flights", *at))
    assert [line.split("  ")[0] for line in pulled] == ["broker-a/0 #0", "broker-a/0 #1", "broker-a/1 #0"]
    assert pulled[2].split("  ")[2:] == ["HA", "N384HA HA51", "HA51 left"]
    assert lines(mq("pull", "flights", "--tags", "HA", "--raw", *at)) == ["HA51 left"]
    assert lines(mq("pull", "flights", "--queue", "0", "--offset", "1", "--raw", *at)) == ["UA1 left"]
    assert len(lines(mq("pull", "flights", "--max", "2", *at))) == 2
    assert lines(mq("query", "--key", "HA51", "--raw", *at)) == ["HA51 left"]
    assert lines(mq("query", "--key", "N384HA", "--topic", "flights", "--raw", *at)) == ["HA51 left"]
    done = mq("query", "--key", "N999", *at)
    assert (done.returncode, done.stderr) == (1, b"mq query: no message has the key 'N999'\n")
    assert lines(mq("query", "--id", message_id, "--raw", *at)) == ["HA51 left"]
    done = mq("query", "--id", "HA51", *at)
    assert (done.returncode, done.stderr) == (1, b"mq query: 'HA51' is not an offset message id\n")
    assert len(lines(mq("pull", "flights", "--since", "2013-01-09T14:00", *at))) == 3
    assert len(lines(mq("pull", "flights", "--since", "latest", *at))) == 0
    shown = "\n".join(lines(mq("inspect", str(store / "commitlog" / f"{0:020}"))))
    assert "HA51 left" in shown and "KEYS = N384HA HA51" in shown


def test_bodies_come_from_standard_input_byte_for_byte(namesrv: str, store: Path) -> None:
    at = ("--namesrv", namesrv)
    lines(mq("topic", "create", "raw", "--queues", "1", *at))
    body = bytes(range(256)).replace(b"\n", b"")
    lines(mq("send", "raw", *at, stdin=body))
    lines(mq("send", "raw", "-", "--lines", *at, stdin=b"one\r\ntwo\n\nthree"))
    assert mq("pull", "raw", "--raw", *at).stdout == body + b"\none\ntwo\nthree\n"


def test_a_queue_that_is_not_there_is_named_with_those_that_are(namesrv: str, store: Path) -> None:
    at = ("--namesrv", namesrv)
    lines(mq("topic", "create", "two", "--queues", "2", *at))
    done = mq("send", "two", "x", "--queue", "broker-a/9", *at)
    assert done.stderr.decode() == "mq send: no queue 'broker-a/9' here; there are: broker-a/0, broker-a/1\n"
    done = mq("send", "two", "x", "--queue", "broker-a", *at)
    assert done.stderr.decode() == "mq send: 2 queues are called 'broker-a': say BROKER/N\n"


def test_a_cluster_is_a_table_of_its_brokers_and_a_silent_one_is_a_line_of_it(tmp_path: Path) -> None:
    with server("namesrv", "--listen", "127.0.0.1:0", "--store", str(tmp_path)) as (_, ready):
        at = ("--namesrv", address_in(ready))
        done = mq("cluster", *at)
        assert done.stderr.decode() == f"mq cluster: no broker is registered at {at[1]}\n"
        told = ("--listen", "127.0.0.1:0", "--store", str(tmp_path / "b"), *at)
        with server("broker", *told) as (broker, broker_ready):
            lines(mq("send", "flights", "HA51 left", *at))
            head, row = lines(mq("cluster", *at))
            assert head.split()[:4] == ["cluster", "broker", "role", "address"]
            assert row.split()[:5] == [
                "DefaultCluster", "broker-a", "master", address_in(broker_ready), "4.9.8",
            ]  # fmt: skip
            assert " bytes " in row and " 0 bytes " not in row and row.endswith("%")
            broker.send_signal(signal.SIGSTOP)
            done = mq("cluster", *at)
            assert done.returncode == 0 and b"no answer" in done.stdout.splitlines()[1]
            broker.send_signal(signal.SIGCONT)


def test_a_groups_offsets_are_shown_and_set(namesrv: str, store: Path) -> None:
    at = ("--namesrv", namesrv)
    lines(mq("topic", "create", "hops", "--queues", "2", *at))
    lines(mq("send", "hops", "x", "--queue", "1", "--count", "3", *at))

    def shown(*arguments: str) -> list[list[str]]:
        head, *rows = lines(mq("offset", "hops", "--group", "gates", *arguments, *at))
        assert head.split() == ["queue", "first", "end", "group", "is", "at", "behind"]
        return [row.split() for row in rows]

    assert shown() == [
        ["broker-a/0", "0", "0", "never", "came", "0"], ["broker-a/1", "0", "3", "never", "came", "3"],
    ]  # fmt: skip
    assert shown("--reset", "latest", "--queue", "1") == [["broker-a/1", "0", "3", "3", "0"]]
    assert shown("--reset", "earliest")[1] == ["broker-a/1", "0", "3", "0", "3"]
    assert shown("--reset", "2013-01-01T06:00")[1] == ["broker-a/1", "0", "3", "0", "3"]
    assert shown("--reset", "32503680000000")[1] == ["broker-a/1", "0", "3", "2", "1"], (
        "the last one, not after it"
    )
    assert mq("offset", "nowhere", *at).returncode == 1


def test_a_topic_is_deleted_on_its_brokers_and_at_the_namesrv(namesrv: str, store: Path) -> None:
    at = ("--namesrv", namesrv)
    lines(mq("topic", "create", "short", "--queues", "1", *at))
    lines(mq("send", "short", "x", *at))
    assert lines(mq("topic", "delete", "short", *at)) == ["short: deleted on broker-a"]
    assert "short" not in lines(mq("topic", "list", *at))
    done = mq("topic", "delete", "short", *at)
    assert done.returncode == 1 and b"No topic route info" in done.stderr
    done = mq("topic", "delete", "TBW102", *at)
    assert b"topic TBW102 belongs to the broker and cannot be deleted" in done.stderr
    lines(mq("topic", "create", "short", "--queues", "1", *at))
    assert lines(mq("pull", "short", *at)) == []


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("mq co", "completion"),
        ("mq topic ", "create list delete --help"),
        ("mq topic create x --perm ", "r w rw"),
        ("mq completion ", "bash zsh --help"),
        ("mq pull flights --q", "--queue"),
        ("mq send --tags topic --ke", "--keys"),
    ],
)
def test_bash_completes_what_the_parser_takes(tmp_path: Path, words: str, offered: str) -> None:
    script = tmp_path / "mq.bash"
    script.write_bytes(mq("completion", "bash").stdout)
    told = " ".join(f"'{word}'" for word in words.split(" "))
    ask = f'. {script}; COMP_WORDS=({told}); COMP_CWORD={words.count(" ")}; _mq; echo "${{COMPREPLY[*]}}"'
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout.strip(), done.stderr) == (offered, "")


def test_both_shells_are_told_of_every_command_and_option() -> None:
    bash, zsh = (mq("completion", shell).stdout.decode() for shell in ("bash", "zsh"))
    offers = [line for line in bash.splitlines() if ") offered=" in line]
    assert len(offers) > len(COMMANDS) and offers == [
        line for line in zsh.splitlines() if ") offered=" in line
    ]
    for command in COMMANDS:
        assert f' "mq {command}") offered="' in bash


# ---------------------------------------------------------------- inspect


def record(number: int, physical_offset: int, body: bytes = b"HA51 left") -> bytes:
    host = encode_host("127.0.0.1:10911")
    properties = b"KEYS\x01N384HA\x02TAGS\x01HA\x02"
    return encode_record(
        b"flights", body, properties, 3, number, physical_offset, 0, 0, 1_357_000_000_000, host,
        1_357_000_000_001, host,
    )  # fmt: skip


def segment(tmp_path: Path, count: int, length: int = 4096, start: int = 0) -> tuple[Path, int]:
    """A CommitLog file with `count` records, and where they end in it."""
    data = b""
    for number in range(count):
        data += record(number, start + len(data))
    path = tmp_path / "commitlog" / f"{start:020}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data.ljust(length, b"\0"))
    return path, len(data)


def told(path: Path, limit: int = 10, start: int | None = None) -> tuple[int, list[str]]:
    """How many damages `inspect` finds, and what it says."""
    said: list[str] = []
    return inspect(RealDisk(""), str(path), said.append, limit, start), said


def test_a_segment_is_shown_field_by_field_and_counted(tmp_path: Path) -> None:
    path, end = segment(tmp_path, 5, start=8192)
    damages, said = told(path, limit=2)
    assert damages == 0
    assert "      4  daa320a7             magic              a record" in said
    assert "     20  00000000 00000000    queue offset       0" in said
    assert any(line.endswith("stored             2013-01-01 00:26:40.001Z") for line in said)
    assert "  … and 3 more records" in said
    assert said[-2:] == [
        f"5 records, up to physical offset {8192 + end:,}",
        f"then {4096 - end:,} bytes that nothing was written to",
    ]
    assert max(map(len, said[1:])) <= 110
    assert told(path, start=8192 + end // 5)[1][-2].startswith("4 records")


def test_the_fields_of_a_record_cover_each_of_its_bytes_once(tmp_path: Path) -> None:
    from mq.inspect import record_spans

    data = record(7, 99)
    spans = record_spans(data)
    assert b"".join(span.data for span in spans) == data
    assert [span.position for span in spans][:4] == [0, 4, 8, 12]


@pytest.mark.parametrize(
    ("position", "new", "sentence"),
    [
        (127 + 89, b"X", "DAMAGED at physical offset 127: body checksum"),
        (127 + 4, b"\0\0\0\1", "DAMAGED at physical offset 127: magic 0x00000001 is not a record's"),
        (127, b"\x7f", "DAMAGED at physical offset 127: "),
        (
            127 + 28,
            b"\0\0\0\1",
            "DAMAGED at physical offset 127: the record says that it is at 4,294,967,423",
        ),
        (4000, b"?", "DAMAGED at physical offset 4,000: bytes behind the end, which no record leads to"),
    ],
)
def test_a_damaged_segment_is_said_to_be_in_one_line_with_its_place(
    tmp_path: Path, position: int, new: bytes, sentence: str
) -> None:
    path, end = segment(tmp_path, 3)
    assert end == 3 * 127, "the cases above count on records of 127 bytes"
    data = bytearray(path.read_bytes())
    data[position : position + len(new)] = new
    path.write_bytes(data)
    damages, said = told(path)
    assert damages == 1 and said[-1].startswith(sentence), said[-1]
    done = mq("inspect", str(path))
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_blank_mark_ends_a_segment_and_a_wrong_one_is_damage(tmp_path: Path) -> None:
    path, end = segment(tmp_path, 2)
    data = bytearray(path.read_bytes())
    data[end : end + 8] = (4096 - end).to_bytes(4, "big") + BLANK_MAGIC.to_bytes(4, "big")
    path.write_bytes(data)
    assert told(path)[0] == 0 and "BLANK mark" in told(path)[1][-1]
    data[end : end + 4] = b"\0\0\0\7"
    path.write_bytes(data)
    damages, said = told(path)
    assert damages == 1
    assert (
        said[-1] == f"DAMAGED at physical offset {end}: a BLANK mark says 7 bytes are left; {4096 - end} are"
    )


def queue_file(tmp_path: Path, entries: list[tuple[int, int, int]], name: str = f"{0:020}") -> Path:
    path = tmp_path / "consumequeue" / "flights" / "3" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(ENTRY.pack(*entry) for entry in entries).ljust(2000, b"\0"))
    return path


def test_a_queue_file_is_shown_entry_by_entry(tmp_path: Path) -> None:
    path = queue_file(tmp_path, [(0, 120, 2297), (120, 120, 2297), (500, 130, 0)], f"{2000:020}")
    damages, said = told(path, limit=2)
    assert damages == 0
    assert said[2] == "         100  0000000000000000 00000078 00000000000008f9  0 +120 tag 2297"
    assert said[-2:] == ["  … and 1 more entries", "3 entries; the last one's record ends at 630"]
    assert told(path, start=102)[1][-1].startswith("1 entries from 102 on")


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ([(0, 120, 0), (100, 120, 0)], "DAMAGED at queue offset 1: it points to 100, the entry before it"),
        (
            [(0, 120, 0), (0, 0, 0), (120, 9, 0)],
            "DAMAGED at queue offset 2: the entries from 1 to here are empty",
        ),
        ([(-5, 120, 0)], "DAMAGED at queue offset 0: position -5 and size 120 can be no record's"),
    ],
)
def test_a_damaged_queue_file_is_said_to_be(
    tmp_path: Path, entries: list[tuple[int, int, int]], sentence: str
) -> None:
    damages, said = told(queue_file(tmp_path, entries))
    assert damages == 1 and any(line.startswith(sentence) for line in said), said


def test_an_index_file_is_shown_with_its_chains(tmp_path: Path) -> None:
    slots, path = 10, tmp_path / "20130101050000000"
    entries = [(0, 0, 0, 0), (7, 120, 1, 0), (17, 240, 2, 1)]
    head = INDEX_HEAD.pack(1_357_000_000_000, 1_357_000_002_000, 120, 240, 1, 3)
    packed = b"".join(INDEX_ENTRY.pack(*entry) for entry in entries)
    path.write_bytes((head + bytes(4 * slots) + packed).ljust(40 + 84 * slots, b"\0"))
    damages, said = told(path)
    assert damages == 0 and said[0].endswith("index file, 880 bytes")
    assert said[3].strip() == "1 of 10 slots in use, 2 entries of 40"
    assert said[-1].split() == ["2", "17", "7", "240", "2", "1"]
    path.write_bytes(
        path.read_bytes().replace(INDEX_ENTRY.pack(17, 240, 2, 1), INDEX_ENTRY.pack(17, 240, 2, 9))
    )
    assert told(path)[1][-1] == "DAMAGED at entry 2: it points to 240, and to entry 9"


def test_an_index_file_whose_head_is_still_to_come_says_when_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "20130101050000000"
    path.write_bytes(bytes(880))
    damages, said = told(path)
    assert damages == 0
    assert said[-1].strip() == "a broker that runs writes head and slots each 60 s, and when it stops"


def test_a_checkpoint_and_a_table_are_shown(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    checkpoint.write_bytes((1_357_000_000_001).to_bytes(8, "big") + bytes(4088))
    damages, said = told(checkpoint)
    assert damages == 0 and said[1].endswith("2013-01-01 00:26:40.001Z") and said[2].endswith("never")
    checkpoint.write_bytes(bytes(24))
    assert told(checkpoint)[0] == 1
    table = tmp_path / "topics.json"
    table.write_text(json.dumps({"dataVersion": {"counter": 3}}))
    assert told(table)[1][1:] == ["  {", '    "dataVersion": {', '      "counter": 3', "    }", "  }"]
    table.write_text('{"dataVersion":')
    damages, said = told(table)
    assert damages == 1 and said[-1].startswith("DAMAGED: this table is not JSON")


def test_a_reader_that_has_seen_enough_ends_the_output_quietly(tmp_path: Path) -> None:
    path, _ = segment(tmp_path, 5000, length=1 << 20)
    process = subprocess.Popen(
        [*MQ, "inspect", "--limit", "5000", str(path)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    with process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith(str(path).encode())
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141
