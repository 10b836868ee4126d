"""The readers of a journal: diagram, replay, report, and their command line."""

import hashlib
import io
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from rich.console import Console

from chapters import lab
from chapters.lab_journal import ALIVE, DARK, DEAD, Tale, focus_of, observe
from chapters.lab_layout import MOST_LANES
from chapters.lab_replay import Replay
from chapters.lab_report import report, write_report
from chapters.lab_words import line_of, visible, words_of
from chapters.picture import WIDTH
from chapters.spacetime import draw
from mq.runtime.journal import Event
from mq.sim import simulation
from mq.sim.checkers import Anomaly
from mq.sim.history import History, Record
from mq.sim.lab import Outcome, run
from mq.sim.scenario import Scenario
from mq.sim.simulation import golden_text
from mq.sim.stories import STORIES
from tests.broken_brokers import called

ROOT = Path(__file__).parent.parent
SVG = "{http://www.w3.org/2000/svg}"
PAGE = "{http://www.w3.org/1999/xhtml}"
STORM = "lone-async seed=1"  # the power of its only broker goes at 2099 ms and comes back at 3599 ms
CUTS = "mixed seed=7"  # b is cut from c1, then a from everybody
HOSTILE = ("<b>&\"'", "]]><script>", "a\x00\x1b[31mred", "\u202emoc\u2066", "x" * 300, "\ud800")


@cache
def seen(scenario: str) -> tuple[Outcome, Tale]:
    """A run and its journal; nobody changes them."""
    return observe(scenario)


def events_of(tree: ET.Element) -> list[ET.Element]:
    return [group for group in tree.iter(f"{SVG}g") if group.get("class") == "event"]


def hover(group: ET.Element) -> str:
    return group.findtext(f"{SVG}title") or ""


def shapes(group: ET.Element) -> set[str]:
    """The classes of what a group draws."""
    return {word for shape in group.iter() for word in shape.get("class", "").split()}


def drawn(scenario: str, **options: float) -> ET.Element:
    outcome, tale = seen(scenario)
    focus = focus_of(tale, outcome)
    from_ms, to_ms = options.get("from_ms"), options.get("to_ms")
    return ET.fromstring(draw(tale, scenario, from_ms, to_ms, int(options.get("most", 5_000)), focus))


def tale_of(*events: Event, machines: tuple[str, ...] = ("a", "b")) -> Tale:
    return Tale(events, {f"10.0.0.{number}": name for number, name in enumerate(machines, 1)})


def sent(time_ms: float, node: str, to: int, number: int, what: str = "HELLO") -> Event:
    fields = (("peer", f"10.0.0.{to}:9876"), ("number", number), ("what", what))
    return Event(time_ms, node, "sent", "", fields)


def chunk(time_ms: float, node: str, source: int, number: int) -> Event:
    return Event(time_ms, node, "chunk", "", (("peer", f"10.0.0.{source}:50000"), ("number", number)))


def lost(time_ms: float, node: str, to: int, number: int) -> Event:
    return Event(
        time_ms, node, "packet lost", "the link is cut", (("peer", f"10.0.0.{to}"), ("number", number))
    )


def fault(at_ms: int, word: str) -> Event:
    return Event(at_ms, "driver", "fault", "", (("fault", f"{at_ms}:{word}"),))


# ---------------------------------------------------------------- the diagram


@pytest.mark.parametrize("scenario", [STORM, CUTS, "mixed-pairs seed=3", "expiry-silence seed=1"])
def test_a_diagram_is_xml_with_a_title_a_description_and_the_width_of_a_phone(scenario: str) -> None:
    tree = drawn(scenario, most=120)
    assert tree.findtext(f"{SVG}title") == scenario
    description = tree.findtext(f"{SVG}desc") or ""
    assert description.startswith("Time runs down, from ") and "Machines: " in description
    assert tree.get("role") == "img" and tree.get("viewBox", "").split()[:3] == ["0", "0", str(WIDTH)]
    for letters in tree.iter(f"{SVG}text"):
        assert 0 <= float(letters.get("x", "-1")) < WIDTH, letters.text


def test_every_event_of_the_window_is_drawn_once_and_says_its_whole_line() -> None:
    _, tale = seen(STORM)
    tree = drawn(STORM, from_ms=1_500, to_ms=4_000)
    wanted = [line_of(event) for event in tale.events if 1_500 <= event.time_ms <= 4_000]
    assert Counter(map(hover, events_of(tree))) == Counter(wanted)
    assert len(wanted) > 100
    assert f"All {len(wanted)} events" in "".join(tree.itertext())


@pytest.mark.parametrize("most", [1, 7, 60, 120])
def test_a_long_run_is_drawn_in_part_and_each_gap_says_how_much_was_left_out(most: int) -> None:
    _, tale = seen(CUTS)
    tree = drawn(CUTS, most=most)
    count = len(events_of(tree))
    gaps = [int(text) for text in re.findall(r"… (\d+) events? left out", "".join(tree.itertext()))]
    assert 0 < count <= most
    assert count + sum(gaps) == len(tale.events)
    assert f"{count} of {len(tale.events)} events are drawn" in "".join(tree.itertext())


def test_what_is_kept_of_a_long_run_are_its_faults_and_deaths_and_what_lies_near() -> None:
    outcome, tale = seen(STORM)
    kept = tale.choose(tale.window(None, None), 60, focus_of(tale, outcome))
    assert {i for i in range(len(tale.events)) if tale.is_main(i)} <= set(kept)
    told = {dict(tale.events[i].fields).get("key") for i in kept if tale.events[i].kind == "acknowledged"}
    assert {sent.key for sent in outcome.history.missing()} & told, "nothing of what was lost is shown"
    for index in kept:
        packet = tale.packet_of.get(index)
        assert packet is None or set(packet.parts) <= set(kept), "half a message"


def test_what_the_verdict_speaks_of_is_kept_however_far_from_every_fault_it_lies() -> None:
    events = [Event(number, "a", "thinks", "", ()) for number in range(500)]
    tale = tale_of(fault(0, "clock=a/5"), *events)
    kept = tale.choose(tale.window(None, None), 10, [300])
    assert len(kept) <= 10 and {0, 300} <= set(kept) and 299 in kept and 301 in kept


def test_a_lost_message_ends_in_a_cross_and_one_that_arrives_in_an_arrows_head() -> None:
    _, tale = seen(CUTS)
    tree = drawn(CUTS)
    by_line = {hover(group): group for group in events_of(tree)}
    lost_ones = [event for event in tale.events if event.kind == "packet lost"]
    assert len(lost_ones) > 10
    for event in lost_ones:
        assert "cross" in shapes(by_line[line_of(event)]) and "head" not in shapes(by_line[line_of(event)])
    for event in [event for event in tale.events if event.kind == "chunk"]:
        assert "head" in shapes(by_line[line_of(event)]) and "cross" not in shapes(by_line[line_of(event)])
    words = [letters.text or "" for letters in tree.iter(f"{SVG}text")]
    assert any("c1→b lost" in text for text in words), "and it is said in words, too"
    assert "is lost, or nobody is there to hear it" in words


def test_a_message_to_a_machine_without_power_ends_in_a_cross_although_no_link_lost_it() -> None:
    _, tale = seen(STORM)
    group = next(group for group in events_of(drawn(STORM)) if words_unheard(tale, hover(group)))
    assert "cross" in shapes(group) and "c→a unheard" in "".join(group.itertext())


def words_unheard(tale: Tale, line: str) -> bool:
    unheard = [
        p.sent for p in tale.packets.values() if p.arrived is None and not p.lost and p.sent is not None
    ]
    return line in {line_of(tale.events[index]) for index in unheard}


def test_what_was_lost_and_arrives_at_last_is_drawn_as_an_arrow_of_its_own() -> None:
    tale = tale_of(sent(1, "a", 2, 5), lost(1, "a", 2, 5), chunk(201, "b", 1, 5))
    leaving, losing, arriving = events_of(ET.fromstring(draw(tale, "again")))
    assert "head" not in shapes(leaving) | shapes(losing) and "cross" in shapes(losing)
    assert {"head", "dead"} <= shapes(arriving) and "a→b arrives HELLO" in "".join(arriving.itertext())


def test_an_arrow_that_leaves_the_window_is_dashed_at_both_ends() -> None:
    tale = tale_of(sent(1, "a", 2, 5), Event(2, "a", "thinks", "", ()), chunk(3, "b", 1, 5))
    (leaving, _) = events_of(ET.fromstring(draw(tale, "first", to_ms=2)))
    (_, arriving) = events_of(ET.fromstring(draw(tale, "last", from_ms=2)))
    assert "dead" in shapes(leaving) and "cross" not in shapes(leaving), "it is not lost: it arrives later"
    assert {"dead", "head"} <= shapes(arriving)


def test_the_dead_are_told_from_the_living_and_process_death_from_power_loss_by_their_lines() -> None:
    killed = [Event(10, "a", "killed", "process", ()), Event(20, "a", "power lost", "", ()),
              Event(30, "a", "started", "", ())]  # fmt: skip
    tale = tale_of(*killed, Event(40, "b", "thinks", "", ()))
    assert [tale.state("a", index) for index in range(4)] == [DEAD, DARK, ALIVE, ALIVE]
    tree = ET.fromstring(draw(tale, "deaths"))
    lines = {hover(g): g for g in tree.iter(f"{SVG}g") if g.get("class") == "lane"}
    assert [path.get("class") for path in lines["a, a machine"].iter(f"{SVG}path")] == [
        "thin", "dead", "dark", "thin",
    ]  # fmt: skip
    assert shapes(lines["b, a machine"]) == {"lane", "thin"}


def test_a_cut_is_a_bracket_and_disk_trouble_a_double_line_from_their_beginning_to_their_end() -> None:
    tale = tale_of(
        fault(10, "cut=a<>*"), fault(15, "full=b/0"), Event(20, "a", "thinks", "", ()),
        fault(30, "heal=a>b"), fault(40, "heal=b>a"), fault(45, "mend=b"),
    )  # fmt: skip
    spans = [g for g in ET.fromstring(draw(tale, "cut")).iter(f"{SVG}g") if g.get("class") == "span"]
    assert [hover(group) for group in spans] == [
        "full=b/0 from 0.015 s to 0.045 s",
        "cut=a<>* from 0.010 s to 0.040 s",
    ]
    open_ended = [
        g for g in ET.fromstring(draw(tale, "cut", 12, 35)).iter(f"{SVG}g") if g.get("class") == "span"
    ]
    whole, cut_off = (g.findall(f"{SVG}path")[0].get("d", "") for g in (spans[1], open_ended[1]))
    assert "H" in whole and "h5" in whole and "H" not in cut_off and "h5" not in cut_off


def test_calm_ends_every_cut_and_a_delay_of_nothing_ends_a_delay() -> None:
    tale = tale_of(
        fault(1, "cut=a>b"), fault(2, "delay=a<>b/50"), fault(3, "delay=a<>b/0/0"), fault(4, "slow=a/9"),
        fault(5, "slow=a/0"), Event(6, "driver", "calm", "", ()),
    )  # fmt: skip
    assert [(span.kind, span.end) for span in tale.spans] == [("cut", 5), ("delay", 2), ("disk", 4)]


def test_colours_say_nothing_alone_and_all_of_them_are_the_five_that_a_dark_page_replaces() -> None:
    _, tale = seen(CUTS)
    text = draw(tale, CUTS)
    body = re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)
    assert not re.search(r"#[0-9a-fA-F]{3}|rgb|stroke=|style=", body)
    assert set(re.findall(r'fill="([^"]*)"', body)) <= {"var(--ink)"}
    assert "@media (prefers-color-scheme:dark)" in text


def test_hostile_names_are_escaped_and_the_diagram_stays_xml() -> None:
    events = [Event(1, name, "\x07<i>", "&\x00", (("key", name),)) for name in HOSTILE]
    events += [
        sent(2, HOSTILE[0], 2, 1, HOSTILE[1]),
        chunk(3, HOSTILE[1], 1, 1),
        Event(4, "driver", "note", "\x1b]", ()),
    ]
    text = draw(tale_of(*events, machines=HOSTILE), "".join(HOSTILE))
    tree = ET.fromstring(text)
    assert Counter(map(hover, events_of(tree))) == Counter(map(line_of, events))
    assert "<script" not in text and "<b>" not in text
    assert all(character.isprintable() or character == "\n" for character in text)
    assert text.encode("utf-8"), "a lone surrogate cannot be written"


def test_more_machines_than_have_room_are_left_out_by_name_and_their_events_counted() -> None:
    names = tuple(f"m{number}" for number in range(40))
    events = [Event(number, names[number % 40], "thinks", "", ()) for number in range(80)]
    tree = ET.fromstring(draw(tale_of(*events, machines=names), "crowd", most=200))
    lanes = [g for g in tree.iter(f"{SVG}g") if g.get("class") == "lane"]
    assert len(lanes) == MOST_LANES and len(events_of(tree)) == 2 * MOST_LANES
    assert "No line: m16, m17" in (tree.findtext(f"{SVG}desc") or "")
    assert "32 of 80 events are drawn, 48 left out" in (tree.findtext(f"{SVG}desc") or "")


def test_a_machine_that_talks_to_itself_and_one_that_nobody_knows_can_be_drawn() -> None:
    tale = tale_of(sent(1, "a", 1, 1), chunk(2, "a", 1, 1), lost(3, "a", 77, 2))
    assert len(events_of(ET.fromstring(draw(tale, "alone")))) == 3


def test_nothing_can_be_drawn_too() -> None:
    tree = ET.fromstring(draw(tale_of(), "nothing"))
    assert (
        events_of(tree) == [] and tree.findtext(f"{SVG}desc") == "Nothing happened in this stretch of time."
    )
    assert events_of(ET.fromstring(draw(seen(STORM)[1], "late", from_ms=10**9))) == []


# ---------------------------------------------------------------- the replay


def replay_of(scenario: str, width: int = 100, encoding: str = "utf-8") -> tuple[Replay, Callable[[], str]]:
    outcome, tale = seen(scenario)
    stream = io.TextIOWrapper(io.BytesIO(), encoding, write_through=True)
    console = Console(file=stream, width=width, no_color=True)

    def shown() -> str:
        stream.seek(0)
        return stream.read()

    return Replay(tale, tale.window(None, None), console, focus_of(tale, outcome)), shown


def answers(*texts: str) -> Callable[[str], str]:
    """A reader of prompts that gives these answers, then ends."""
    left: Iterator[str] = iter(texts)

    def read(_: str) -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    return read


def rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if re.match(r" *\d+\.\d{3} ", line)]


def test_enter_shows_one_event_a_number_so_many_and_the_end_of_the_input_ends_it() -> None:
    replay, shown = replay_of(STORM)
    replay.ask(answers("", "", "5", "what?"))
    _, tale = seen(STORM)
    assert [row.split()[0] for row in rows(shown())] == [f"{e.time_ms / 1000:.3f}" for e in tale.events[:8]]
    assert "Enter: the next event; 12: the next twelve" in shown(), "what was not understood is explained"


def test_f_goes_to_the_next_fault_and_v_to_the_verdict() -> None:
    replay, shown = replay_of(STORM)
    replay.ask(answers("f", "f"))
    assert rows(shown())[-2].endswith("== fault: kill=a/power")
    assert "a killed (power)" in rows(shown())[-1]
    replay.ask(answers("v"))
    assert " == verdict: ok: 281 acknowledged" in rows(shown())[-1]
    assert "That was the last event." in shown()


def test_q_leaves_the_replay_where_it_is() -> None:
    replay, shown = replay_of(STORM)
    replay.ask(answers("3", "q", "100"))
    assert len(rows(shown())) == 4


def test_a_long_step_prints_its_last_events_and_says_how_many_are_not_shown() -> None:
    replay, shown = replay_of(CUTS)
    replay.ask(answers("v"))
    assert len(rows(shown())) == 401 and replay.shown == len(replay.window)
    assert re.search(r"… \d+ messages and \d+ other events not shown", shown())


@pytest.mark.parametrize("width", [60, 100, 200])
def test_no_line_of_a_replay_is_wider_than_the_terminal(width: int) -> None:
    replay, shown = replay_of("mixed-pairs seed=3", width)
    replay.print_all(200)
    assert max(map(len, shown().splitlines())) <= width
    assert 100 < len(rows(shown())) <= 200


def test_a_terminal_that_knows_only_ascii_is_given_only_ascii() -> None:
    replay, shown = replay_of(CUTS, encoding="ascii")
    replay.print_all(100)
    assert "?" not in shown() and "o--" in shown() and "-->" in shown()


def test_an_arrow_points_from_the_sender_to_the_receiver_and_a_lost_one_has_an_x() -> None:
    tale = tale_of(sent(1, "a", 2, 1), chunk(2, "b", 1, 1), sent(3, "b", 1, 2), lost(3, "b", 1, 2))
    stream = io.StringIO()
    Replay(tale, tale.window(None, None), Console(file=stream, width=80, no_color=True)).print_all()
    lines = [line[11:] for line in rows(stream.getvalue())]
    assert all("HELLO" in line for line in lines) and lines[3].endswith("(the link is cut)")
    assert lines[0].startswith("o") and ">" in lines[1].partition("a→b")[0]
    leaving, losing = (line.partition("b→a")[0] for line in lines[2:])
    assert "o" in leaving and "x" not in leaving and "x" in losing


def test_a_replay_prints_no_character_that_a_terminal_would_obey() -> None:
    tale = tale_of(
        *[Event(1, name, "says", "\x1b[2J", (("key", name),)) for name in HOSTILE], machines=HOSTILE
    )
    stream = io.StringIO()
    Replay(tale, tale.window(None, None), Console(file=stream, width=80, no_color=True)).print_all()
    assert all(character.isprintable() or character == "\n" for character in stream.getvalue())


# ---------------------------------------------------------------- the report


@pytest.mark.parametrize("name", ["acknowledges_before_it_syncs", "stores_twice", "invents_a_record"])
def test_the_report_of_a_broken_broker_names_the_anomaly_and_shows_where(name: str, tmp_path: Path) -> None:
    mistake = called(name)
    path = tmp_path / "new" / "report.html"
    first = f"{mistake.scenario.removesuffix(' calm')} 9000:clock=a/5"
    outcome = write_report(mistake.scenario, path, [mistake.plant], first)
    tree = ET.parse(path).getroot()
    assert tree.findtext(f"{PAGE}body/{PAGE}h1") == f"FAILED: {', '.join(outcome.kinds)}"
    sentences = [item.text or "" for item in tree.iter(f"{PAGE}li")]
    assert any(line.startswith(mistake.kind) and re.search(mistake.says, line) for line in sentences)
    text = "".join(tree.itertext())
    assert outcome.command in text and f"Shrunk from {first}" in text
    assert "What must not happen, and did" in text and "Around " in text
    assert any("focus" in shapes(group) or "mark" in shapes(group) for group in events_of(tree))


def test_the_table_counts_what_was_acknowledged_what_is_missing_and_what_lies_on_each_disk() -> None:
    outcome, tale = seen(STORM)
    tree = ET.fromstring(report(outcome, tale))
    table = next(tree.iter(f"{PAGE}table"))
    heads, *lines = [[cell.text for cell in row] for row in table.iter(f"{PAGE}tr")]
    assert heads == ["queue", "acknowledged", "of them on no disk", "on a", "stored, not acknowledged"]
    told, missing = outcome.history.acknowledged(), outcome.history.missing()
    stored = len(outcome.history.last_disks()["a"].records)
    beyond = stored - (len(told) - len(missing))
    assert len(missing) == 7 and lines[-1] == ["all", *map(str, (len(told), len(missing), stored, beyond))]
    assert [line[0] for line in lines[:-1]] == ["flights/a/0", "flights/a/1"]
    concerned = list(tree.iter(f"{PAGE}table"))[1]
    assert [row[0].text for row in concerned.iter(f"{PAGE}tr")][1:] == [sent.key for sent in missing]


def test_a_report_is_one_file_without_scripts_that_asks_no_other_host() -> None:
    text = report(*seen(STORM))
    tree = ET.fromstring(text)
    assert not {element.tag.rpartition("}")[2] for element in tree.iter()} & {
        "script", "link", "img", "iframe", "object", "a", "use", "image", "base",
    }  # fmt: skip
    names = {name for element in tree.iter() for name in element.keys()}  # noqa: SIM118  # an Element has no names
    assert not [name for name in names if name.startswith("on") or "href" in name or name == "src"]
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {
        "http://www.w3.org/1999/xhtml", "http://www.w3.org/2000/svg",
    }  # fmt: skip
    assert "url(" not in text and "@import" not in text and "default-src 'none'" in text


def test_hostile_keys_sentences_and_troubles_are_escaped_in_a_report() -> None:
    history = History(topics=("t",))
    for number, name in enumerate(HOSTILE):
        history.send(name, "t", b"", "a", number)
        history.tell(name, "SEND_OK", number, f"t/{name}/0", number)
    history.keep(HOSTILE[0], [Record(HOSTILE[1], b"", f"t/{HOSTILE[1]}/0", 1)], 9, trouble=HOSTILE[2])
    found = [Anomaly("lost", f"message {name} is gone") for name in HOSTILE]
    outcome = Outcome(Scenario("mixed"), history, found, trouble="\x1b<b>\nsecond line", notes=list(HOSTILE))
    events = [
        Event(number, "a", "acknowledged", name, (("key", name),)) for number, name in enumerate(HOSTILE)
    ]
    text = report(outcome, tale_of(*events), "<i>\x00")
    tree = ET.fromstring(text)
    assert "<script" not in text and "<b>" not in text and "<i>" not in text
    assert all(character.isprintable() or character == "\n" for character in text)
    assert visible(HOSTILE[2]) in "".join(tree.itertext())


def test_long_lists_in_a_report_are_cut_and_say_so() -> None:
    history = History()
    for number in range(60):
        history.send(f"k{number}", "t", b"", "a", number)
        history.tell(f"k{number}", "SEND_OK", number, "t/a/0", number)
    history.keep("a", [], 99)
    found = [Anomaly("lost", f"message k{number} is gone") for number in range(60)]
    tale = tale_of(*[Event(number, "a", "thinks", "", ()) for number in range(60)])
    text = report(Outcome(Scenario("mixed"), history, found), tale)
    assert "lost: and 52 more" in text and "20 more are left out." in text


def test_a_journal_that_was_too_long_says_so_in_the_diagram_and_in_the_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(simulation, "MAX_EVENTS_KEPT", 300)
    outcome, tale = observe(STORM)
    sentence = f"its first {outcome.events_forgotten} events were not kept"
    assert outcome.events_forgotten > 1_000
    assert sentence in draw(tale, STORM)
    assert report(outcome, tale).count(sentence) == 3, "description, picture and text"


# ---------------------------------------------------------------- the same on every machine


def digest_of_everything() -> str:
    outcome, tale = observe(CUTS)
    stream = io.StringIO()
    window = tale.window(None, None)
    Replay(tale, window, Console(file=stream, width=100, no_color=True), focus_of(tale, outcome)).print_all()
    return hashlib.sha256((report(outcome, tale) + stream.getvalue()).encode()).hexdigest()


def test_diagram_report_and_replay_are_the_same_text_under_every_hash_seed() -> None:
    program = "from tests.test_lab import digest_of_everything; print(digest_of_everything())"
    found = set()
    for hash_seed in ("0", "4711"):
        env = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", program], env=env, cwd=ROOT, capture_output=True, text=True, check=True
        )
        found.add(done.stdout)
    assert found == {digest_of_everything() + "\n"}


# ---------------------------------------------------------------- the command line


def test_the_list_has_every_story_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert lab.main(["list"]) == 0
    shown = capsys.readouterr().out
    assert all(
        re.search(rf"^  {name} +{re.escape(story.about)}$", shown, re.M) for name, story in STORIES.items()
    )


def test_golden_prints_the_journal_to_the_byte(capsys: pytest.CaptureFixture[str]) -> None:
    assert lab.main(["golden", STORM]) == 0
    assert capsys.readouterr().out == golden_text(run(STORM).events)


def test_diagram_and_report_write_their_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    svg, page = tmp_path / "run.svg", tmp_path / "run.html"
    assert lab.main(["diagram", STORM, "--from", "2000", "--to", "2200", "--out", str(svg)]) == 0
    assert lab.main(["diagram", *STORM.split(), "--from", "2000", "--to", "2200"]) == 0
    assert capsys.readouterr().out == svg.read_text("utf-8")
    times = [float(hover(group).split()[0]) for group in events_of(ET.parse(svg).getroot())]
    assert times and min(times) >= 2_000 and max(times) <= 2_200
    assert lab.main(["report", STORM, "--out", str(page)]) == 0
    assert capsys.readouterr().out.endswith(f"written: {page}\n")
    assert page.read_text("utf-8") == report(*seen(STORM), str(seen(STORM)[0].scenario))


def test_a_replay_that_is_not_in_a_terminal_prints_what_matters_and_the_verdict(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert lab.main(["replay", STORM, "--most", "50"]) == 0
    shown = capsys.readouterr().out
    assert 20 < len(rows(shown)) <= 50 and "not shown" in shown
    assert shown.endswith(f"{run(STORM).report()}\n")


def test_the_replay_command_steps_by_what_it_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    assert lab.main(["replay", STORM, "--from", "2000"], read=answers("f", "2", "q")) == 0
    shown = rows(capsys.readouterr().out)
    assert sum(" fault: kill=a/power" in row for row in shown) == 1
    assert [row.split()[0] for row in shown[-3:]] == ["2.099"] * 3


def test_a_run_that_fails_makes_status_1_and_its_report_is_that_of_the_shrunk_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mistake = called("acknowledges_before_it_syncs")
    monkeypatch.setattr(lab, "observe", lambda scenario: observe(scenario, [mistake.plant]))
    monkeypatch.setattr(lab, "rerun", lambda scenario: run(scenario, [mistake.plant]))
    path, noisy = (
        tmp_path / "run.html",
        "lone-sync seed=3 1000:slow=a/5 1500:mend=a 3000:kill=a/power 4500:restart=a",
    )
    assert lab.main(["report", noisy, "--out", str(path)]) == 1
    assert "shrunk to 1 faults" not in (shown := capsys.readouterr().out) and "shrunk to 1 fault in " in shown
    text = "".join(ET.parse(path).getroot().itertext())
    assert (
        'python -m mq.sim run "lone-sync seed=3 3000:kill=a/power"' in text and f"Shrunk from {noisy}" in text
    )


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["golden", "nope seed=1"], "there is no story 'nope'"),
        (["report", "mixed seed=1 5:kil=a"], "there is no fault 'kil'; did you mean 'kill'?"),
        (["diagram", "mixed seed=-1"], "a seed is a whole number"),
        (["diagram", "mixed seed=\x1b[1m"], "a seed is a whole number"),
        (["replay", "mixed seed=1 5:kill=zz"], "there is no machine 'zz' here"),
        (["replay", ""], "cannot be a story's name"),
        (["diagram", STORM, "--from", "9", "--to", "3"], "--from 9 lies behind --to 3"),
        (["diagram", STORM, "--from", "x"], "'x' is no number of milliseconds"),
        (["diagram", STORM, "--most", "0"], "a number from 1 to 2000 is needed"),
        (["report", STORM, "--out", "no/such/folder/x.html"], "cannot write no/such/folder/x.html"),
    ],
)
def test_what_cannot_be_understood_is_said_in_one_line_with_status_2(
    arguments: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = lab.main(arguments)
    except SystemExit as ended:  # argparse, with its usage before the line
        status = int(ended.code or 0)
    said = capsys.readouterr().err
    assert status == 2 and why in said.splitlines()[-1]
    assert said.startswith(("usage:", "lab:")) and "Traceback" not in said
    assert "\x1b" not in said


def test_words_of_an_event_leave_out_the_zeros_of_a_files_name() -> None:
    for path, shown in (("00000000000000032768", "…32768"), ("0" * 20, "…0"), ("topics.json", "topics.json")):
        synced = Event(1, "a", "synced", "", (("path", f"commitlog/{path}"),))
        assert words_of(tale_of(synced), 0) == f"a synced commitlog/{shown}"
        assert path in line_of(synced), "pointing at it shows the whole name"


def test_each_line_of_the_journal_in_a_report_wraps_by_itself() -> None:
    outcome, tale = seen(STORM)
    tree = ET.fromstring(report(outcome, tale))
    lines = [line for block in tree.iter(f"{PAGE}pre") for line in block.findall(f"{PAGE}span")]
    texts = ["".join(line.itertext()) for line in lines]
    every = {line_of(event) for event in tale.events}
    assert len(texts) > 20 and all(text in every or text.startswith("… ") for text in texts)
    assert "pre span{display:block;white-space:pre-wrap" in report(outcome, tale)


def test_words_of_an_event_name_machines_instead_of_addresses() -> None:
    gone = Event(
        1, "a", "not pulled", "10.0.0.2:10911 did not answer", (("reader", "a"), ("count", 1), ("at", 3))
    )
    assert words_of(tale_of(gone), 0) == "a not pulled (b:10911 did not answer) at=3"
