"""Prose: paragraphs broken into lines, also in Chinese, where a line may end between almost any two signs."""

import re
import unicodedata
from collections.abc import Iterator

WIDE = "\u2e80-\u9fff\uff00-\uffef"
NEVER_FIRST = "，。、；：？！）」』”’…"  # stays with the sign before it
PIECE = re.compile(rf"[{WIDE}“‘][{NEVER_FIRST}]*|[^\s{WIDE}]+[{NEVER_FIRST}]*|\s+")


def columns(text: str) -> int:
    """How many columns of a terminal it takes."""
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def pad(text: str, width: int) -> str:
    """Filled up to so many columns."""
    return text + " " * max(width - columns(text), 0)


def joined(text: str) -> str:
    """One line. Where two Chinese signs meet there was no space."""
    return re.sub(r"\s*\n\s*", " ", re.sub(rf"(?<=[{WIDE}])\s*\n\s*(?=[{WIDE}])", "", text.strip()))


def flowed(text: str, width: int) -> str:
    """Lines of at most `width` columns. Paragraphs have an empty line between them."""
    return "\n\n".join("\n".join(_lines(joined(one), width)) for one in text.strip().split("\n\n"))


def _lines(text: str, width: int) -> Iterator[str]:
    line = ""
    for piece in PIECE.findall(text):
        if line and columns(line) + columns(piece.rstrip()) > width:
            yield line.rstrip()
            line = piece.lstrip()
        else:
            line += piece
    yield line.rstrip()
