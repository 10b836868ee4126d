"""The build hook of the site: chapters come from where they lie, and links become what they stand for.

What always holds: a page is readable Markdown where it lies, and nothing on the site is written by hand that
a command can make. A link that leads nowhere, a symbol that is not there or an output that nobody makes ends
the build with a sentence. `weave.py` makes the parts, `cards.py` what stands before and behind a chapter.
"""

import re
import sys
import textwrap
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from docs import cards, differences, found, weave  # noqa: E402  (mkdocs loads this file by its path)
from docs.weave import BookError  # noqa: E402

SECTIONS = ("trouble", "see-it-work", "build-it", "break-it", "what-it-costs", "real-thing", "your-turn")
"""The ids of a chapter's seven headings: the same in every language, so that links to them last."""

CODE = re.compile(r"(^(`{3,}).*?^\2\s*$|`[^`\n]+`)", re.M | re.S)
PREDICT = re.compile(r"^> \*\*(Predict|先猜)[.。]\*\* ?", re.M)
FOLLOWS = re.compile(
    r"^(> \*\*(?:Predict|先猜)[.。]\*\*[^\n]*\n(?:>[^\n]*\n)*\n)"  # the box
    r"(````{ \.sh .*?^````\n\n````{.*?^````$)",  # a command, and what it printed
    re.M | re.S,
)
FOLD = re.compile(r"^( *)<details><summary>(.+?)</summary>\n(.*?)^ *</details>$", re.M | re.S)
ABBR = re.compile(r'<abbr title="([^"]*)">(.*?)</abbr>', re.S)
LATER = re.compile(r"\[later: (\d+)\]")


def site_path(source: Path, root: Path = ROOT) -> str | None:
    """The page of the site that a file of the project is: `chapters/03-consumequeue.md`; else None."""
    where = source.relative_to(root).as_posix() if source.is_relative_to(root) else ""
    chapter = re.fullmatch(r"chapters/ch(\d\d)_(\w+)/README\.md", where)
    if chapter:
        return f"chapters/{chapter[1]}-{chapter[2].replace('_', '-')}.md"
    return where.removeprefix("docs/") if re.fullmatch(r"docs/[\w./-]+\.md", where) else None


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the chapters."""
    for source in sorted((ROOT / "chapters").glob("ch*/README.md")):
        path = site_path(source)
        if path:
            files.append(File.generated(config, path, abs_src_path=str(source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """What mkdocs turns into HTML."""
    source = Path(page.file.abs_src_path or ROOT / "docs" / page.file.src_uri)
    try:
        return render(markdown, source, page.file.src_uri)
    except BookError as error:
        raise PluginError(f"{source.relative_to(ROOT)}: {error}") from None


def render(text: str, source: Path, here: str, root: Path = ROOT) -> str:
    """A page as it is on the site, `here` being its path there. Raises BookError."""
    chapter = re.match(r"chapters/(\d\d)-", here)
    text = outside_code(text, lambda prose: LATER.sub(_later, links(prose, source, here, root)))
    text = folds(predictions(text))
    if chapter:
        number = int(chapter[1])
        title, rest = with_ids(text).split("\n", 1)
        text = "\n\n".join([title, cards.card(number, source, root), rest, cards.tail(number, root)])
    if here == "glossary.md":
        text += "\n\n" + cards.glossary_page(root)
    if here == "found.md":
        text += "\n\n" + found.page(root)
    if here == "differences.md":
        text += "\n\n" + differences.page(root)
    return text + "\n\n" + cards.tooltips(text, root)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A word has its tooltip where the prose says it first, and not again; a heading has none."""
    seen: set[str] = set()

    def once(found: re.Match[str]) -> str:
        if found[3]:
            return ABBR.sub(r"\2", found[0])
        is_first = found[1] not in seen
        seen.add(found[1])
        return found[0] if is_first else found[2]

    return re.sub(rf"{ABBR.pattern}|(<h\d.*?</h\d>|<table>.*?</table>)", once, html, flags=re.S)


def outside_code(text: str, change: Any) -> str:
    """Change what is prose, and leave code blocks and inline code as they are."""
    parts, position = [], 0
    for code in CODE.finditer(text):
        parts += [change(text[position : code.start()]), code[0]]
        position = code.end()
    return "".join([*parts, change(text[position:])])


def links(text: str, source: Path, here: str, root: Path = ROOT) -> str:
    """Each link by its title. Raises BookError for one that leads nowhere."""
    return weave.LINK.sub(lambda found: _link(found, source, here, root), text)


def _link(found: re.Match[str], source: Path, here: str, root: Path) -> str:
    bang, text, target, title = found[1], found[2], found[3], found[4] or ""
    if "://" in target or target.startswith(("#", "mailto:")):
        return found[0]
    target, _, anchor = target.partition("#")
    path = (source.parent / target).resolve()
    if not path.exists() and title != "output" and not title.startswith("measured: "):
        raise BookError(f"[{text}]({target}) leads nowhere")
    if bang and path.suffix == ".svg":
        return weave.picture(path, text)
    if title == "code":
        return weave.excerpt(path, text, root)
    if title == "output":
        return weave.output(path, text)
    if title == "chapters":
        return cards.contents(root)
    if title == "real":
        return weave.real(path, text)
    if title.startswith("measured: "):
        return weave.figure(text, title.removeprefix("measured: "), source, root)
    if title:
        raise BookError(f'[{text}]({target} "{title}"): no such kind of link')
    page = site_path(path, root)
    if page:
        up = "../" * here.count("/")
        return f"{bang}[{text}]({up}{page}{'#' * bool(anchor)}{anchor})"
    return f"`{path.relative_to(root).as_posix()}`"  # a file of the project that is no page of the site


def predictions(text: str) -> str:
    """A quotation that opens with **Predict.** becomes a box, and the output below it is folded."""
    lines = FOLLOWS.sub(_then_look, text).split("\n")
    shown, box = [], False
    for line in lines:
        opening = PREDICT.match(line)
        if opening:
            box = True
            shown += [f'!!! predict "{opening[1]}"', ""]
            line = "> " + line[opening.end() :]
        box = box and line.startswith(">")
        shown.append("    " + line[1:].strip() if box else line)
    return "\n".join(shown)


def _then_look(found: re.Match[str]) -> str:
    return f'{found[1]}??? look "Then look"\n\n{textwrap.indent(found[2], "    ")}'


def folds(text: str) -> str:
    """A <details> becomes a box that is closed, wherever it stands."""
    return FOLD.sub(
        lambda found: f'{found[1]}??? answer "{found[2]}"\n' + textwrap.indent(found[3], "    "), text
    )


def with_ids(text: str) -> str:
    """The seven headings and the steps get ids that do not depend on the language."""
    ids, steps, step = iter(SECTIONS), 0, ""

    def name(found: re.Match[str]) -> str:
        nonlocal steps, step
        if found[1] == "##":
            step = next(ids, "")
            return f"{found[0]} {{#{step}}}" if step else found[0]
        steps += step == "build-it"
        return f"{found[0]} {{#step-{steps}}}" if step == "build-it" else found[0]

    parts = re.split(r"(^````.*?^````$)", text, flags=re.M | re.S)
    return "".join(
        part if part.startswith("````") else re.sub(r"^(###?) .+$", name, part, flags=re.M) for part in parts
    )


def _later(found: re.Match[str]) -> str:
    return f'<span class="later" title="this word belongs to chapter {found[1]}">chapter {found[1]}</span>'
