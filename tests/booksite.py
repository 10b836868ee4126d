"""What the built site and its pictures keep: rules that HTML or SVG keeps or breaks, a sentence each."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

from tests.book import answers_in_prose

# ---------------------------------------------------------------- a picture

SVG = "{http://www.w3.org/2000/svg}"
LETTER = 7.3
"""About how wide a letter of 13 units is."""


def picture_faults(text: str) -> list[str]:
    """A picture is XML with a title and a description, runs nothing, and keeps its letters in its frame."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        return [f"is no XML: {error}"]
    said = [f"has no {name}" for name in ("title", "desc") if not (root.findtext(SVG + name) or "").strip()]
    width = float(root.get("viewBox", "0 0 0 0").split()[2])
    for one in root.iter():
        if one.tag == f"{SVG}script" or any(name.startswith("on") for name in one.attrib):
            said.append("runs a script")
        if one.tag == f"{SVG}text":
            half = 0.5 if one.get("text-anchor") == "middle" else 1
            end = float(one.get("x", "0")) + len(one.text or "") * LETTER * half
            if end > width:
                said.append(f"is {width:g} wide, and {one.text!r} would end at {end:.0f}")
    return said


# ---------------------------------------------------------------- the built site

FETCHING = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "use": "href",
}
FETCHING_RELS = {
    "stylesheet",
    "icon",
    "preload",
    "prefetch",
    "modulepreload",
    "preconnect",
    "dns-prefetch",
    "manifest",
}


class Reader(HTMLParser):
    """What a page of the site refers to, what can be referred to in it, and what it shows unfolded."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.ids: Counter[str] = Counter()
        self.folds = 0
        self.open_folds: list[str] = []
        self.unfolded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        self.ids.update([told["id"]] if "id" in told else [])
        if tag == "details":
            self.folds += 1
            self.open_folds += [told.get("class", "details")] if "open" in told else []
        if tag == "a" and "href" in told:
            self.links.append(told["href"])
        rels = set(told.get("rel", "").split())
        if tag == "link" and rels & FETCHING_RELS:
            self.fetched.append(told.get("href", ""))
        if tag in FETCHING and FETCHING[tag] in told:
            self.fetched.append(told[FETCHING[tag]])

    def handle_endtag(self, tag: str) -> None:
        self.folds -= tag == "details"

    def handle_data(self, data: str) -> None:
        if not self.folds:
            self.unfolded.append(data)


def read_site(site: Path) -> dict[str, Reader]:
    """Path -> what its HTML says."""
    found = {}
    for path in sorted(site.rglob("*.html")):
        reader = Reader()
        reader.feed(path.read_text("utf-8"))
        found[path.relative_to(site).as_posix()] = reader
    return found


def site_faults(site: Path, bodies: Mapping[str, Sequence[str]]) -> list[str]:
    """Dead links, requests to other hosts, ids that stand twice, and answers that are not folded."""
    pages = read_site(site)
    said = []
    for name, page in pages.items():
        said += [f"{name} fetches {url}" for url in page.fetched if urlsplit(url).netloc]
        said += [f"{name} has the id {id} {times} times" for id, times in page.ids.items() if times > 1]
        said += [f"{name} has an open fold: {kind}" for kind in page.open_folds]
        said += [f"{name}: {one}" for one in answers_in_prose("".join(page.unfolded), bodies)]
        if name != "404.html":
            said += [f"{name} links to {url}, which is not there" for url in [*page.links, *page.fetched]
                     if not _is_there(site, name, url, pages)]  # fmt: skip
    for path in sorted(site.rglob("*.css")):
        for url in re.findall(r"url\(\s*['\"]?(\w+:)?//", path.read_text("utf-8")):
            said.append(f"{path.name} fetches from another host ({url or 'https:'})")
    return said


def _is_there(site: Path, name: str, url: str, pages: Mapping[str, Reader]) -> bool:
    parts = urlsplit(url)
    if parts.scheme or parts.netloc:
        return True
    path = ((site / name).parent / unquote(parts.path)).resolve() if parts.path else site / name
    path = path / "index.html" if path.is_dir() else path
    target = path.relative_to(site.resolve()).as_posix() if path.is_relative_to(site.resolve()) else ""
    if not path.is_file():
        return False
    return not parts.fragment or target not in pages or unquote(parts.fragment) in pages[target].ids
