"""A run as one HTML file: the verdict, the diagram, what was promised and what lies there, and the journal.

    write_report("mixed seed=7", Path("report.html"))

What always holds: the file needs nothing else: no script, no other file, no other host (it forbids itself to
ask). It is well-formed XML. Whatever a machine, a message or a broker is called stands there escaped. Every
list is bounded and says what it left out. The same run gives the same text.
"""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path

from chapters.lab_journal import Tale, focus_of, keys_in, observe
from chapters.lab_words import clock, visible
from chapters.spacetime import draw
from mq.sim.checkers import Anomaly
from mq.sim.history import History
from mq.sim.lab import Alter, Outcome
from mq.sim.scenario import Scenario

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
SENTENCES, MESSAGES, EXCERPTS, AROUND = 8, 40, 3, 14

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1f2328;--dim:#57606a;--line:#d0d7de;--fill:#f3f5f8}
@media (prefers-color-scheme:dark){
:root{--paper:#0d1117;--ink:#e6edf3;--dim:#a4aebb;--line:#444c56;--fill:#1b2129}}
body{margin:0 auto;max-width:44rem;padding:1rem;background:var(--paper);color:var(--ink)}
body{font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.4rem;line-height:1.3;margin:.5rem 0}h2{font-size:1.1rem;margin:2rem 0 .5rem}
code,pre{font:13px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
code{overflow-wrap:anywhere}
pre{overflow-x:auto;padding:.6rem;background:var(--fill);border:1px solid var(--line);border-radius:4px}
pre.wrap{white-space:pre-wrap;overflow-wrap:anywhere}
pre mark{background:none;color:inherit;font-weight:700}
pre span{display:block;white-space:pre-wrap;overflow-wrap:anywhere;padding-left:2em;text-indent:-2em}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:13px}
td,th{border:1px solid var(--line);padding:.25rem .5rem;text-align:left;vertical-align:top}
td.number{text-align:right}.dim{color:var(--dim)}
figure{margin:0;max-width:34rem}svg{width:100%;height:auto;display:block}
"""


def text(value: object) -> str:
    """Anything, as text that is safe between tags."""
    return escape(visible(value))


def write_report(
    scenario: Scenario | str, path: Path, alter: Sequence[Alter] = (), first: Scenario | str = ""
) -> Outcome:
    """Run it and write its report; the folder is made when it is not there. `first`: what it was shrunk from.

    Raises ScenarioError, OSError.
    """
    outcome, tale = observe(scenario, alter)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report(outcome, tale, str(first)), "utf-8")
    return outcome


def report(outcome: Outcome, tale: Tale, first: str = "") -> str:
    """The file's text."""
    title = f"{outcome.verdict()} · {outcome.scenario.name} seed={outcome.scenario.seed}"
    body = [
        *_verdict(outcome),
        *_again(outcome, first),
        *_diagram(outcome, tale),
        *_stored(outcome.history),
        *_messages(outcome),
        *_excerpts(outcome, tale),
    ]
    return "\n".join([
        "<!DOCTYPE html>",
        '<html xmlns="http://www.w3.org/1999/xhtml" lang="en"><head><meta charset="utf-8"/>',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"/>',
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>',
        f"<title>{text(title)}</title><style>{STYLE}</style></head><body>",
        *body,
        "</body></html>\n",
    ])  # fmt: skip


def _verdict(outcome: Outcome) -> Iterator[str]:
    history = outcome.history
    yield f"<h1>{text(outcome.verdict())}</h1>"
    promise = f"Promise: {history.flush}, replication {history.replication}."
    faults = [f"{line[0].upper()}{line[1:]}." for line in outcome.befell()]
    yield f'<p class="dim">{text(" ".join([promise, *faults]))}</p>'
    if outcome.trouble:
        yield f'<h2>It did not come to its end</h2><pre class="wrap">{_lines(outcome.trouble)}</pre>'
    yield from _sentences("What must not happen, and did", outcome.anomalies)
    yield from _sentences("What happened, and may under this promise", outcome.allowed)
    yield from _list("Notes", outcome.notes)


def _lines(value: str) -> str:
    return "\n".join(text(line) for line in value.split("\n"))


def _sentences(heading: str, anomalies: Sequence[Anomaly]) -> Iterator[str]:
    shown = []
    for kind in dict.fromkeys(anomaly.kind for anomaly in anomalies):
        own = [anomaly for anomaly in anomalies if anomaly.kind == kind]
        shown += [str(anomaly) for anomaly in own[:SENTENCES]]
        shown += [f"{kind}: and {len(own) - SENTENCES} more"] * (len(own) > SENTENCES)
    yield from _list(heading, shown)


def _list(heading: str, items: Sequence[str]) -> Iterator[str]:
    if items:
        inside = "".join(f"<li>{text(item)}</li>" for item in items)
        yield f"<h2>{text(heading)}</h2><ul>{inside}</ul>"


def _again(outcome: Outcome, first: str) -> Iterator[str]:
    scenario = str(outcome.scenario)
    yield "<h2>Run it again</h2>"
    yield f'<pre class="wrap">{text(outcome.command)}</pre>'
    if first and first != scenario:
        yield f"<p>Shrunk from <code>{text(first)}</code></p>"
    yield f'<p>Step through it:</p><pre class="wrap">python -m chapters.lab replay "{text(scenario)}"</pre>'


def _diagram(outcome: Outcome, tale: Tale) -> Iterator[str]:
    svg = draw(tale, str(outcome.scenario), focus=focus_of(tale, outcome))
    yield f"<h2>Space and time</h2><figure>{svg}</figure>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["".join(f"<th>{text(head)}</th>" for head in heads)]
    for row in rows:
        cells = [
            f'<td class="number">{cell}</td>' if isinstance(cell, int) else f"<td>{text(cell)}</td>"
            for cell in row
        ]
        lines.append("".join(cells))
    return f'<div class="wide"><table>{"".join(f"<tr>{line}</tr>" for line in lines)}</table></div>'


def _stored(history: History) -> Iterator[str]:
    """For each queue: what senders rely on, and what lies on each disk."""
    yield "<h2>Acknowledged, and stored</h2>"
    disks, kept = history.last_disks(), history.kept()
    told = history.acknowledged()
    if not disks:
        yield f"<p>No disk was looked at. {len(told)} messages were acknowledged.</p>"
        return
    queues = {sent.queue: None for sent in told}
    queues |= {record.queue: None for disk in disks.values() for record in disk.records}
    stored = [f"on {name}" for name in disks]
    heads = ["queue", "acknowledged", "of them on no disk", *stored, "stored, not acknowledged"]
    promised = {sent.key for sent in told}
    rows: list[list[object]] = []
    for queue in sorted(queues):
        own = [sent for sent in told if sent.queue == queue]
        lying = [{record.key for record in disk.records if record.queue == queue} for disk in disks.values()]
        unasked = set().union(*lying) - promised
        gone = sum(sent.key not in kept for sent in own)
        rows.append([queue, len(own), gone, *map(len, lying), len(unasked)])
    total = ["all", *(sum(int(str(row[place])) for row in rows) for place in range(1, len(heads)))]
    yield _table(heads, [*rows, total])
    for disk in disks.values():
        if disk.trouble:
            yield f"<p>The log of {text(disk.name)} cannot be read to its end: {text(disk.trouble)}</p>"


def _messages(outcome: Outcome) -> Iterator[str]:
    """The messages that the verdict speaks of: what their senders were told, and where they lie."""
    history = outcome.history
    concerned = outcome.anomalies or outcome.allowed
    keys = dict.fromkeys(key for anomaly in concerned for key in keys_in(anomaly, history))
    if not keys:
        return
    kept, rows = history.kept(), []
    for key in list(keys)[:MESSAGES]:
        sent = history.sent[key]
        lies = ", ".join(
            f"{disk}: {record.queue} @{record.queue_offset}" for disk, record in kept.get(key, [])
        )
        told = (
            "no answer" if sent.told_ms is None else f"{sent.status or 'no answer'} at {sent.told_ms:.0f} ms"
        )
        place = f"{sent.queue} @{sent.queue_offset}" if sent.queue else "nowhere"
        rows.append([key, f"{sent.sent_ms:.0f} ms", told, place, lies or "on no disk"])
    yield "<h2>The messages that the verdict speaks of</h2>"
    yield _table(["message", "sent", "its sender was told", "to lie in", "lies in the end"], rows)
    if len(keys) > MESSAGES:
        yield f'<p class="dim">{len(keys) - MESSAGES} more are left out.</p>'


def _excerpts(outcome: Outcome, tale: Tale) -> Iterator[str]:
    """The journal around the first moments that the verdict speaks of, else around the first fault."""
    anchors = _anchors(outcome, tale)
    yield "<h2>The journal there</h2>"
    for index in anchors:
        first, last = max(0, index - AROUND), min(len(tale.events), index + AROUND + 1)
        lines = [f"… {tale.forgotten + first} events before …"] * (tale.forgotten + first > 0)
        for i in range(first, last):
            line = text(tale.events[i].text().strip())
            lines.append(f"<mark>{line}</mark>" if i == index else line)
        lines += [f"… {len(tale.events) - last} events after …"] * (last < len(tale.events))
        excerpt = "".join(f"<span>{line}</span>" for line in lines)  # each wraps on a narrow page
        yield f"<p>Around {clock(tale.times[index])} s (the line in bold):</p><pre>{excerpt}</pre>"
    if tale.forgotten:
        yield f"<p>The journal was too long: its first {tale.forgotten} events were not kept.</p>"
    yield f'<p>All of it:</p><pre class="wrap">python -m chapters.lab golden "{text(outcome.scenario)}"</pre>'


def _anchors(outcome: Outcome, tale: Tale) -> list[int]:
    found: list[int] = []
    for index in focus_of(tale, outcome):
        if all(abs(index - other) > AROUND for other in found):
            found.append(index)
    faults = [i for i in range(len(tale.events)) if tale.is_main(i)]
    return (found or faults or list(range(len(tale.events))))[: EXCERPTS if found else 1]
