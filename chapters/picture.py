"""Pictures of bytes, as SVG: rows of boxes that can be read on a phone, in the dark, and without colour.

A picture is at most WIDTH units wide, so that its letters stay letters on a narrow screen. It has a title and
a description for those who cannot see it. Colour repeats what a word or an outline says, and says nothing
alone. Where it lies it follows the reader's system; on the site the page sets the same five colours.
"""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH = 400
MARGIN = 8
BYTE_WIDTH, BYTE_HEIGHT = 34, 26

STYLE = """
.picture{--ink:#1f2328;--dim:#57606a;--fill:#f3f5f8;--line:#8c959f;--mark:#ffe2a8}
@media (prefers-color-scheme:dark){
.picture{--ink:#e6edf3;--dim:#a4aebb;--fill:#252b33;--line:#768390;--mark:#6b4a00}}
.picture text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:var(--ink)}
.picture .name{font:600 13px system-ui,sans-serif}
.picture .dim{font:12px system-ui,sans-serif;fill:var(--dim)}
.picture rect{fill:var(--fill);stroke:var(--line)}
.picture .mark{fill:var(--mark);stroke:var(--ink);stroke-width:2}
.picture path{fill:none;stroke:var(--ink);stroke-width:1.5}
"""


class Field(NamedTuple):
    """Some bytes that belong together: what they are called, and what they say."""

    name: str
    data: bytes
    says: str


class Picture:
    """Shapes, added one by one. The height follows from the lowest."""

    def __init__(self, title: str, description: str) -> None:
        self.title, self.description = title, description
        self.shapes: list[str] = []
        self.bottom = 0.0

    def text(self, x: float, y: float, text: str, kind: str = "", middle: bool = False) -> None:
        """Letters, `y` being their base line."""
        kind = f' class="{kind}"' if kind else ""
        anchor = ' text-anchor="middle"' if middle else ""
        self._add(f'<text x="{x:g}" y="{y:g}"{kind}{anchor}>{escape(text)}</text>', y + 4)

    def box(self, x: float, y: float, width: float, text: str = "", marked: bool = False) -> None:
        """A box with letters in its middle; a marked one has a thick outline too."""
        kind = ' class="mark"' if marked else ""
        self._add(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{BYTE_HEIGHT}" rx="3"{kind}/>',
            y + BYTE_HEIGHT,
        )
        if text:
            self.text(x + width / 2, y + 18, text, middle=True)

    def path(self, points: Sequence[tuple[float, float]]) -> None:
        """A line through points, with a small ring at its end."""
        way = " ".join(f"{'ML'[i > 0]}{x:g} {y:g}" for i, (x, y) in enumerate(points))
        x, y = points[-1]
        self._add(f'<path d="{way}"/><circle cx="{x:g}" cy="{y:g}" r="3" fill="var(--ink)"/>', y)

    def _add(self, shape: str, lowest: float) -> None:
        self.shapes.append(shape)
        self.bottom = max(self.bottom, lowest)

    def svg(self) -> str:
        """The file's text."""
        height = round(self.bottom + MARGIN)
        return "\n".join([
            '<svg xmlns="http://www.w3.org/2000/svg" class="picture" role="img" '
            f'viewBox="0 0 {WIDTH} {height}">',
            f"<title>{escape(self.title)}</title>",
            f"<desc>{escape(self.description)}</desc>",
            f"<style>{STYLE}</style>",
            *self.shapes,
            "</svg>\n",
        ])  # fmt: skip


def fields(title: str, description: str, parts: Sequence[Field]) -> str:
    """Bytes in rows of eight, field below field, each with its position, its name and what it says."""
    picture, at, y = Picture(title, description), 0, 18.0
    for part in parts:
        span = f"bytes {at} to {at + len(part.data) - 1}"
        picture.text(MARGIN, y, part.name, "name")
        picture.text(WIDTH - 118, y, span, "dim")
        for i, byte in enumerate(part.data):
            x, row = MARGIN + i % 8 * BYTE_WIDTH, y + 8 + i // 8 * (BYTE_HEIGHT + 2)
            picture.box(x, row, BYTE_WIDTH - 2, f"{byte:02x}", marked=byte != 0)
        y = picture.bottom + 17
        picture.text(MARGIN, y, part.says, "dim")
        at, y = at + len(part.data), y + 30
    return picture.svg()


def log_and_queue(
    title: str, description: str, log: Sequence[tuple[int, int]], queue_id: int, numbers: Sequence[int]
) -> str:
    """Records of a log as (physical offset, queue id), and below them one queue that points at its own.

    `numbers` are the queue offsets of those of its records that are shown.
    """
    picture, width = Picture(title, description), (WIDTH - 2 * MARGIN) / len(log)
    own = [i for i, (_, of) in enumerate(log) if of == queue_id]
    picture.text(MARGIN, 18, "The log: records, each with its queue's number", "name")
    for i, (_, of) in enumerate(log):
        picture.box(MARGIN + i * width, 28, width - 2, str(of), marked=i in own)
    step = (WIDTH - 2 * MARGIN) / len(own)
    for place, i in enumerate(own):
        x, center = MARGIN + place * step, MARGIN + i * width + width / 2 - 1
        picture.path([(x + step / 2, 112), (x + step / 2, 100), (center, 74), (center, 57)])
        picture.box(x, 112, step - 4, f"{log[i][0]}", marked=True)
        picture.text(x + step / 2, 156, f"entry {numbers[place]}", "dim", middle=True)
    picture.text(MARGIN, 180, f"Queue {queue_id}: each entry says where its record begins", "name")
    return picture.svg()


def cells(title: str, description: str, rows: Sequence[tuple[str, Sequence[tuple[str, bool]], str]]) -> str:
    """Rows of small cells, such as the entries around a torn page.

    A row is what stands above it, its cells (a letter or two, and whether it is marked), what stands below.
    """
    picture, y = Picture(title, description), 18.0
    for above, row, below in rows:
        width = (WIDTH - 2 * MARGIN) / len(row)
        picture.text(MARGIN, y, above, "name")
        for i, (text, is_marked) in enumerate(row):
            picture.box(MARGIN + i * width, y + 8, width - 2, text, is_marked)
        picture.text(MARGIN, y + BYTE_HEIGHT + 25, below, "dim")
        y += BYTE_HEIGHT + 56
    return picture.svg()
