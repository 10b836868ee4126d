"""README.md shows what commands print: run them, and find each shown line in the output.

    python -m tests.readme            runs every command of its console blocks, `make tour` included
    python -m tests.readme toy        runs the commands that contain this word

A shown line counts as found when the output has it, in the order shown; lines between them are not shown.
"""

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def transcripts(text: str) -> list[tuple[str, list[str]]]:
    """Each shown command with the lines that are shown of its output."""
    found: list[tuple[str, list[str]]] = []
    for line in "".join(blocks(text, "console")).splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line.strip():
            found[-1][1].append(line)
    return found


def first_missing(shown: list[str], output: str) -> str | None:
    """The first shown line that the output does not have behind the one before it."""
    lines = iter(output.splitlines())
    return next((line for line in shown if not any(line.rstrip() == other.rstrip() for other in lines)), None)


def excerpt_is_true(excerpt: str, source: str) -> bool:
    """Whether an excerpt stands in the source, letter for letter, as one whole definition."""
    wanted = excerpt.strip("\n")
    if wanted not in source:
        return False
    first = source[: source.index(wanted)].count("\n") + 1
    spans = [
        (node.lineno, node.end_lineno)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    ]
    return (first, first + wanted.count("\n")) in spans


def run(command: str) -> str:
    """A command's output. `python3` is the Python that runs this. Raises CalledProcessError."""
    words = [sys.executable if word == "python3" else word for word in shlex.split(command)]
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def main(arguments: list[str]) -> int:
    """Exit status 1 when a shown line is not in the output."""
    wrong = 0
    for command, shown in transcripts(README.read_text("utf-8")):
        if all(word in command for word in arguments):
            missing = first_missing(shown, run(command))
            wrong += missing is not None
            print(f"ok    {command}" if missing is None else f"WRONG {command}: {missing!r} is not printed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
