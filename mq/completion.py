"""Completion for bash and zsh, made from the command line's own parser.

What always holds: what is offered is what the parser takes, because it is read from it. Where a value is
free, the shell offers file names.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

SHELLS = ("bash", "zsh")

BASH = """\
# mq completion bash: source <(mq completion bash)
_mq() {{
    local place=mq word before=${{COMP_WORDS[COMP_CWORD-1]}} offered=
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
{cases}
    COMPREPLY=($(compgen -W "$offered" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _mq mq
"""

ZSH = """\
#compdef mq
# mq completion zsh: source <(mq completion zsh)
_mq() {{
    local place=mq word before=${{words[CURRENT-1]}} offered=
    for word in ${{words[2,CURRENT-1]}}; do
{cases}
    compadd -- ${{=offered}} || _files
}}
compdef _mq mq
"""

CASES = """\
        case "$place $word" in
            {places}) place="$place $word" ;;
        esac
    done
    case "$place $before" in
{values}
        *) case "$place" in
{words}
        esac ;;
    esac"""


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """What a shell sources."""
    found = list(_walk("mq", parser))
    places = "|".join(f'"{place}"' for place, _ in found if place != "mq")
    words = [f'            "{place}") offered="{" ".join(_words(each))}" ;;' for place, each in found]
    values = [
        f'        "{place} {name}") offered="{" ".join(map(str, action.choices))}" ;;'
        for place, each in found
        for action in each._actions
        if action.choices and not isinstance(action, argparse._SubParsersAction)
        for name in action.option_strings
    ]
    cases = CASES.format(places=places, words="\n".join(words), values="\n".join(values))
    return {"bash": BASH, "zsh": ZSH}[shell].format(cases=cases)


def _walk(place: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command, with the words that lead to it."""
    yield place, parser
    for name, below in _commands(parser).items():
        yield from _walk(f"{place} {name}", below)


def _words(parser: argparse.ArgumentParser) -> list[str]:
    """What may stand next: commands below this one, values that are named, options."""
    named = [
        str(choice)
        for action in parser._actions
        if action.choices and not action.option_strings
        for choice in action.choices
    ]
    options = [name for action in parser._actions for name in action.option_strings if name.startswith("--")]
    return [*named, *options]


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}
