"""The shapes of a space-time diagram, and what each means. None is told from another by its colour."""

from math import hypot

STYLE = """
.picture .row{font-size:11px}
.picture .at{font-size:10px;fill:var(--dim)}
.picture .faint{fill:var(--dim)}
.picture .strong{font-weight:700}
.picture .dead{stroke-dasharray:5 4}
.picture .dark{stroke-dasharray:1 6}
.picture .thin{stroke-width:1}
.picture .rule{stroke:var(--line);stroke-dasharray:2 3;stroke-width:1}
.picture .thick{stroke-width:2.5}
.picture .ink{fill:var(--ink);stroke:var(--ink);stroke-width:1}
.picture .hollow{fill:var(--fill);stroke:var(--ink);stroke-width:1.5}
.picture .touch{fill:none;stroke:none;pointer-events:all}
"""


def line(x0: float, y0: float, x1: float, y1: float, kind: str = "") -> str:
    """An arrow without its head."""
    look = f' class="{kind}"' if kind else ""
    if x0 == x1:  # a machine that talks to itself
        return f'<path{look} d="M{x0:g} {y0:g}c12 0 12 {y1 - y0:g} 0 {y1 - y0:g}"/>'
    return f'<path{look} d="M{x0:g} {y0:g}L{x1:g} {y1:g}"/>'


def head(x0: float, y0: float, x1: float, y1: float) -> str:
    """An arrow's head at (x1, y1), coming from (x0, y0)."""
    length = hypot(x1 - x0, y1 - y0) or 1.0
    dx, dy = (x1 - x0) / length, (y1 - y0) / length
    back_x, back_y = x1 - 8 * dx, y1 - 8 * dy
    points = [(x1, y1), (back_x + 4 * dy, back_y - 4 * dx), (back_x - 4 * dy, back_y + 4 * dx)]
    way = "".join(f"{'ML'[i > 0]}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(points))
    return f'<path class="ink head" d="{way}Z"/>'


def cross(x: float, y: float, size: int, kind: str = "thick") -> str:
    """What ends here."""
    left, right, upper, lower = x - size, x + size, y - size, y + size
    way = f"M{left:g} {upper:g}L{right:g} {lower:g}M{left:g} {lower:g}L{right:g} {upper:g}"
    return f'<path class="cross {kind}" d="{way}"/>'


def bolt(x: float, y: float) -> str:
    """The power goes."""
    return f'<path class="ink bolt" d="M{x + 2:g} {y - 9:g}l-7 10h4l-2 8l8 -11h-5z"/>'


def triangle(x: float, y: float) -> str:
    """A machine begins again."""
    return f'<path class="ink" d="M{x - 6:g} {y + 5:g}L{x:g} {y - 6:g}L{x + 6:g} {y + 5:g}Z"/>'


def diamond(x: float, y: float) -> str:
    """Something went wrong."""
    return f'<path class="hollow" d="M{x - 5:g} {y:g}L{x:g} {y - 5:g}L{x + 5:g} {y:g}L{x:g} {y + 5:g}Z"/>'


def dot(x: float, y: float) -> str:
    """Something happened."""
    return f'<circle cx="{x:g}" cy="{y:g}" r="2.5" fill="var(--ink)"/>'


def ring(x: float, y: float) -> str:
    """Something leaves."""
    return f'<circle class="hollow" cx="{x:g}" cy="{y:g}" r="2.5"/>'


LEGEND = {  # around (0, 0)
    "arrives": (line(-12, 0, 10, 0) + head(-12, 0, 10, 0), "arrives"),
    "late": (
        line(-12, 0, 10, 0, "dead") + head(-12, 0, 10, 0),
        "arrives, sent again; or one of its ends is not shown",
    ),
    "lost": (line(-12, 0, 4, 0) + cross(4, 0, 4), "is lost, or nobody is there to hear it"),
    "died": (cross(-4, 0, 6) + '<path class="dead" d="M8 -9V9"/>', "the process dies; dashed while dead"),
    "dark": (bolt(-4, 0) + '<path class="dark" d="M8 -9V9"/>', "the power goes; dotted while it is away"),
    "started": (triangle(0, 0), "starts again"),
    "cut": ('<path class="thick" d="M6 -7H0V7H6"/>', "a way is cut; which one stands where it begins"),
    "delay": ('<path class="thick dead" d="M6 -7H0V7H6"/>', "a way is slow"),
    "disk": ('<path class="thin" d="M-4 -8V8M0 -8V8M4 -8V8"/>', "its disk is in trouble"),
    "trouble": (diamond(0, 0), "something went wrong there"),
    "focus": (
        '<rect class="mark" x="-12" y="-6" width="24" height="12" rx="3"/>',
        "what the verdict speaks of",
    ),
}
