"""Pieces: a learner's files as text and as trees, and the reasons for which code is not run."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class Refused(Exception):
    """Code that is not run. `id` names the sentence that says why, `values` what it speaks of."""

    def __init__(self, id: str, **values: object) -> None:
        super().__init__(id)
        self.id = id
        self.values = values


@dataclass(frozen=True)
class Piece:
    """A learner's file."""

    path: str
    source: str

    def tree(self) -> ast.Module:
        """Parsed. Raises Refused."""
        try:
            return ast.parse(self.source, self.path)
        except SyntaxError as error:
            text = (error.text or "").rstrip("\n")
            caret = " " * max((error.offset or 1) - 1, 0) + "^"
            raise Refused(
                "syntax", file=self.path, line=error.lineno or 0, what=error.msg, shown=f"{text}\n{caret}"
            ) from None
        except ValueError as error:
            raise Refused("syntax", file=self.path, line=0, what=str(error), shown="") from None


def read_pieces(paths: Sequence[Path], root: Path) -> list[Piece]:
    """The learner's files, under names as short as can be. Raises Refused for one that is no text."""
    pieces = []
    for path in paths:
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
        try:
            pieces.append(Piece(name, path.read_text("utf-8")))
        except UnicodeDecodeError:
            raise Refused("not_utf8", file=name) from None
    return pieces
