"""The book: every page keeps its form, says only what a command made, and leads nowhere that is not there."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest

from docs import cards, differences, found, hook, weave
from tests import book, booksite, golden
from tests.interop.differences import DELIBERATE

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted((ROOT / "chapters").glob("ch*/README.md"))
PAGES = [*CHAPTERS, *sorted((ROOT / "docs").glob("*.md"))]
CHAPTER = next(path for path in CHAPTERS if path.parent.name == "ch03_consumequeue")
GOOD = CHAPTER.read_text("utf-8")


def number(path: Path) -> int:
    return int(path.parent.name[2:4])


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def everything(text: str, path: Path = CHAPTER) -> list[str]:
    """All rules for the text of one chapter."""
    folder, chapter = path.parent, number(path)
    tests = "".join(one.read_text("utf-8") for one in folder.glob("test_*.py"))
    figures = tomllib.loads((folder / "golden" / "figures.toml").read_text("utf-8"))
    made = [one.relative_to(ROOT).as_posix() for one in (folder / "golden").iterdir()]
    return [
        *book.anatomy(text),
        *book.predictions(text, folder),
        *book.repeated({"it": text}),
        *book.later_words(text, chapter, cards.glossary(ROOT)),
        *book.numbers(text, book.figures_known(folder, text, ROOT)),
        *book.unquoted(text, figures),
        *book.dead_links(text, folder),
        *book.outputs(text, name(folder), made),
        *book.invariants(text, tests),
        *book.answers_in_prose(text, book.answer_lines(ROOT)),
    ]


@pytest.mark.parametrize("path", CHAPTERS, ids=name)
def test_a_chapter_keeps_every_rule(path: Path) -> None:
    text = path.read_text("utf-8")
    said = [*everything(text, path), *book.excerpts(text, path.parent)]
    assert not said, "\n".join(said)


@pytest.mark.parametrize("path", CHAPTERS, ids=name)
def test_a_chapter_has_the_length_of_a_page(path: Path) -> None:
    assert cards.words(path.read_text("utf-8")) in book.PAGE_WORDS


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_link_leads_somewhere_where_the_page_lies(path: Path) -> None:
    assert book.dead_links(path.read_text("utf-8"), path.parent) == []


def test_no_sentence_stands_twice_in_the_book() -> None:
    assert book.repeated({name(path): path.read_text("utf-8") for path in PAGES}) == []


def test_what_a_page_shows_is_made_by_a_golden_function() -> None:
    made = {path for module in golden.modules_with("golden") for path in _files_of(module)}
    for path in CHAPTERS:
        assert book.outputs(path.read_text("utf-8"), name(path.parent), made) == []


def _files_of(module: str) -> list[str]:
    folder = ROOT.joinpath(*module.split(".")[:-1]) / "golden"
    return [name(path) for path in folder.iterdir()]  # that each is true, tests/test_golden.py checks


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=name)
def test_a_number_on_any_other_page_is_one_that_a_chapter_shows(path: Path) -> None:
    known = [one.read_text("utf-8") for one in ROOT.glob("chapters/*/golden/*.t*")]
    assert book.numbers(path.read_text("utf-8"), known) == []


PICTURES = sorted(ROOT.glob("chapters/*/golden/*.svg"))


@pytest.mark.parametrize("path", PICTURES, ids=name)
def test_a_picture_says_what_it_shows_and_fits_its_frame(path: Path) -> None:
    assert booksite.picture_faults(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("<desc>", "<!--", "is no XML"),
        ("<title>The 20 bytes of one entry</title>", "", "has no title"),
        (">physical offset<", ">" + "physical offset, which is a position in the log" * 2 + "<", "wide"),
        ('role="img"', 'role="img" onload="x()"', "runs a script"),
    ],
)
def test_a_planted_fault_in_a_picture_is_found(old: str, new: str, sentence: str) -> None:
    text = (CHAPTER.parent / "golden" / "entry.svg").read_text("utf-8")
    assert old in text and any(sentence in one for one in booksite.picture_faults(text.replace(old, new, 1)))


# One planted fault for each rule: what is changed on the good page, and what the rule says.

Change = Callable[[str], str]


def swap(old: str, new: str) -> Change:
    def change(text: str) -> str:
        assert old in text, f"the page no longer has {old!r}"
        return text.replace(old, new, 1)

    return change


STEPS = "chapters.ch03_consumequeue.steps"
AFTER = "## Break it\n"  # some place in the middle

PLANTED: dict[str, tuple[Change, str]] = {
    "a section renamed": (swap("## Break it", "## Broken"), "its sections are"),
    "two sections swapped": (
        lambda text: swap("## Break it", "## What it costs")(swap("## What it costs", "## Break it")(text)),
        "its sections are",
    ),
    "a step that is neither": (swap(" · Read it", ""), "does not end in"),
    "mostly to be read": (swap(" · Write it", " · Read it"), "1 of 4 steps are to be written"),
    "no command for a step": (
        lambda text: re.sub(r"^\[python3 -m \S+ cut\].*$", "", text, flags=re.M),
        "step 4 has no command",
    ),
    "no design note": (swap("### Design note: ", "### Note: "), "no Design note"),
    "a design note too long": (
        lambda text: swap("## In the real", "word " * 200 + "\n\n## In the real")(text),
        "the Design note has",
    ),
    "a question too few": (swap("5. Hawaiian's tag", "Hawaiian's tag"), "Your turn has 4 questions"),
    "an answer unfolded": (swap("    <details><summary>", "    <summary>"), "4 folded answers"),
    "a Predict without output": (
        swap(f"\n[python3 -m {STEPS} scan]", f"\nWait.\n\n[python3 -m {STEPS} scan]"),
        "has no output directly below it",
    ),
    "a Predict whose answer was given away": (
        swap("> **Predict.** The display was", "(8,098; 62,691; 0; 1,000)\n\n> **Predict.** The display was"),
        "can be answered from the text above",
    ),
    "no Predict": (lambda text: text.replace("> **Predict.**", "> **A guess.**"), "it has 0 Predict boxes"),
    "a sentence twice": (
        swap(AFTER, AFTER + "\nThousands of entries point truly at bytes that no longer exist.\n"),
        "say twice: thousands of entries point truly",
    ),
    "a word of a later chapter": (
        swap("So the broker walks.", "So the slave walks."),
        "'slave', a word of chapter 4",
    ),
    "a later word with the wrong mark": (
        swap("partition [later: 10]", "partition [later: 9]"),
        "mark it [later: 10]",
    ),
    "a number that drifted": (
        swap("touches 289 records", "touches 297 records"),
        "no command makes the number 297",
    ),
    "a figure nobody quotes": (
        lambda text: text.replace("1,049", "Many"),
        "the figure first HA in the queue",
    ),
    "a link to nowhere": (swap('](naive.py "code")', '](naiv.py "code")'), "leads nowhere"),
    "an output that nobody makes": (swap("golden/cut.txt", "golden/cat.txt"), "no golden() makes it"),
    "an invariant without its test": (
        swap("`test_what_a_flush_called", "`test_that_a_flush_called"),
        "which is not there",
    ),
    "an invariant with another's test": (
        swap(
            "`test_deleted_queues_come_back_from_the_log_byte_for_byte`",
            "`test_what_waits_in_memory_is_bounded`",
        ),
        "does not say that it tests I3.3",
    ),
    "our answer in the prose": (
        swap(AFTER, AFTER + "\nself.physical_end = physical_offset + size\n"),
        "a line of our answer to mq.consumequeue.queue:ConsumeQueue.append",
    ),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_on_a_page_is_found(fault: str) -> None:
    change, sentence = PLANTED[fault]
    said = everything(change(GOOD))
    assert any(sentence in one for one in said), said


def test_a_good_page_has_no_fault() -> None:
    assert everything(GOOD) == []


# The hook.


def rendered(text: str) -> str:
    return hook.render("# 3 · T\n" + text, CHAPTER, "chapters/03-consumequeue.md")


@pytest.mark.parametrize(
    ("link", "sentence"),
    [
        ('[ConsumeQueue.entry](../../mq/consumequeue/queue.py "code")', "queue.py has no ConsumeQueue.entry"),
        ('[ConsumeQueue](../../mq/consumequeue/queue.py "code")', "which is an exercise: name less"),
        ('[x](../../mq/consumequeue/quene.py "code")', "leads nowhere"),
        ('[python -m x](golden/gone.txt "output")', "gone.txt is not there: `make golden`"),
        ('[1 µs](../../docs/measured.toml "measured: costs.entry")', "has no figure costs.entry"),
        ('[9,999 µs](../../docs/measured.toml "measured: costs.entry_at_us")', "the page says 9,999 µs"),
        ('[openfiles](../../mq/consumequeue "real")', "has no line 'Real:"),
        ('[x](naive.py "cod")', "no such kind of link"),
        ("[x](../ch99_none/README.md)", "leads nowhere"),
    ],
)
def test_the_build_ends_with_a_sentence(link: str, sentence: str) -> None:
    with pytest.raises(weave.BookError, match=re.escape(sentence)):
        rendered(link)


def test_an_exercise_shows_its_signature_and_folds_our_answer() -> None:
    text = rendered('[ConsumeQueue.entry_at](../../mq/consumequeue/queue.py "code")')
    shown, folded = text.split("??? answer")
    assert "def entry_at(self, queue_offset: int)" in shown and '"""The entry with this number' in shown
    assert "python3 -m exercises start 3.1" in shown
    hidden = book.answer_lines(ROOT)["mq.consumequeue.queue:ConsumeQueue.entry_at"]
    assert hidden and all(line in folded and line not in shown for line in hidden)


def test_the_output_below_a_predict_is_folded_and_no_other_is() -> None:
    outputs = '[a](golden/scan.txt "output")\n\n[b](golden/cut.txt "output")\n'
    text = rendered(f"> **Predict.** How many?\n\n{outputs}")
    folded, shown = text.split("??? look")[1].split("\n\n````{ .sh .cmd }\nb", 1)
    assert "62,691" in folded and "after" not in folded
    assert text.count("??? look") == 1 and "after" in shown
    assert rendered(GOOD.split("\n", 1)[1]).count("??? look") == GOOD.count("> **Predict.**")


def test_code_is_left_as_it_is() -> None:
    text = 'Say `[x](gone.py "code")`.\n\n```\n[y](gone.py "code")\n```\n'
    assert '`[x](gone.py "code")`' in rendered(text) and '\n[y](gone.py "code")\n' in rendered(text)


def test_the_ids_of_headings_do_not_depend_on_their_words() -> None:
    text = rendered("## 问题\n\n## 运行\n\n## 动手\n\n### 一\n\n### 二\n")
    assert "## 问题 {#trouble}" in text and "### 二 {#step-2}" in text


def test_a_measured_figure_is_compared_as_the_page_rounds_it() -> None:
    assert weave.rounded(462_164, "460,000") == 460_000
    assert weave.rounded(7.76, "7.8") == 7.8
    assert weave.rounded(7.76, "8") == 8


def test_measured_figures_are_quoted_anew_with_as_many_digits_as_before() -> None:
    link = '[{}/s](../../docs/measured.toml "measured: costs.{}")'
    old = link.format("120,000", "64_logs_per_s") + link.format("9.9", "entry_at_us")
    new = weave.requoted(old, CHAPTER)
    assert new != old and weave.requoted(new, CHAPTER) == new
    assert "docs/measured.toml" not in rendered(new), "page and file agree"


def test_every_word_of_the_glossary_has_both_languages_and_a_chapter() -> None:
    known = {chapter.number for chapter in cards.chapters(ROOT)}
    for term in cards.glossary(ROOT):
        assert term.means and term.means_zh and term.chapter in known
        assert re.search(r"[\u4e00-\u9fff]", term.zh + term.means_zh), term.en
    words = [term.en for term in cards.glossary(ROOT)]
    assert len(words) == len(set(words))


# The page of differences.


def test_every_difference_has_a_kind_a_reason_and_a_test_that_is_there() -> None:
    tests = "".join(path.read_text("utf-8") for path in ROOT.glob("*/**/test_*.py"))
    known = {chapter.number for chapter in cards.chapters(ROOT)}
    assert differences.rows(ROOT)
    for row in differences.rows(ROOT):
        assert row.how in differences.KINDS and row.chapter in known and row.what and row.why, row.what
        assert row.test or row.how == "left out", f"{row.what}: which test would fail if it were not true?"
        assert not row.test or f"def {row.test}(" in tests, f"{row.what}: there is no {row.test}"


def cells(page: str) -> set[str]:
    return {cell.strip() for line in page.splitlines() if line[:1] == "|" for cell in line.split("|")}


def test_the_page_of_differences_has_every_row_of_its_three_sources_and_no_broken_table() -> None:
    page = differences.page(ROOT)
    shown = cells(page)
    for row in differences.rows(ROOT):
        assert {row.what, row.why} <= shown, row.what
    asked = {name for cell in shown for name in cell.split("; ")}
    for name, reason in DELIBERATE.items():
        assert name in asked and reason.why in shown, name
    for table in re.findall(r"(?:^\|.*\n?)+", page, re.M):
        assert len({line.count("|") for line in table.strip().splitlines()}) == 1, table


def test_a_module_that_says_it_is_different_stands_on_the_page_of_differences() -> None:
    page = differences.page(ROOT)
    line = "| `mq/commitlog/load.py` | `org.apache.rocketmq.store.MappedFileQueue.load` | different: 4.9.8"
    assert line in page
    assert "`mq/commitlog/record.py`" not in page, "that one is equivalent"


def test_the_differences_are_on_the_site_and_not_written_into_the_page(site: Path) -> None:
    html = (site / "differences" / "index.html").read_text("utf-8")
    source = (ROOT / "docs" / "differences.md").read_text("utf-8")
    for row in differences.rows(ROOT):
        assert differences.sentence(row.test) in html and row.why not in source
    assert html.count("<table>") == 3


# The site.


def build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    command += ["--config-file", str(config), "--site-dir", str(site)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=config.parent, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole site, built strictly."""
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_site_has_no_dead_link_no_other_host_and_no_answer_unfolded(site: Path) -> None:
    assert booksite.site_faults(site, book.answer_lines(ROOT)) == []


def test_every_page_of_the_book_is_on_the_site(site: Path) -> None:
    for path in PAGES:
        page = hook.site_path(path)
        assert page is not None
        folder = site if page == "index.md" else site / page.removesuffix(".md")
        assert (folder / "index.html").is_file(), name(path)


def test_nothing_but_pages_and_their_assets_is_on_the_site(site: Path) -> None:
    strangers = [path for path in site.rglob("*") if path.suffix in (".py", ".toml", ".pyc")]
    assert strangers == []


def test_the_search_finds_the_chapter(site: Path) -> None:
    assert "An entry is found by multiplying" in (site / "search" / "search_index.json").read_text("utf-8")


@pytest.mark.parametrize(
    ("html", "sentence"),
    [
        ('<a href="gone/">x</a>', "links to gone/"),
        ('<a href="#gone">x</a>', "links to #gone"),
        ('<script src="https://example.com/a.js"></script>', "fetches https://example.com/a.js"),
        ('<link rel="stylesheet" href="//example.com/a.css">', "fetches //example.com/a.css"),
        ('<p id="a"></p><p id="a"></p>', "has the id a 2 times"),
        ("<details open><p>x</p></details>", "has an open fold"),
        ("<pre>self.<b>x</b> = answer_to_everything()</pre>", "shows a line of our answer"),
        ("<style></style><link rel='stylesheet' href='a.css'>", "a.css fetches from another host"),
    ],
)
def test_a_planted_fault_on_the_site_is_found(html: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(html)
    (tmp_path / "a.css").write_text("@font-face{src:url(https://example.com/x.woff)}")
    said = booksite.site_faults(tmp_path, {"x": ["self.x = answer_to_everything()"]})
    assert any(sentence in one for one in said), said


def test_a_dead_link_or_a_missing_symbol_ends_the_build(tmp_path: Path) -> None:
    for at, (fault, sentence) in enumerate({
        "[x](gone.md)": "leads nowhere",
        '[gone](../mq/wire/frame.py "code")': "frame.py has no gone",
        "[x](glossary.md#gone)": "gone",
    }.items()):  # fmt: skip
        root = tmp_path / str(at)
        for folder in ("docs", "mq", "chapters", "exercises", "tests"):
            shutil.copytree(
                ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__", "data")
            )
        (root / "mkdocs.yml").write_text((ROOT / "mkdocs.yml").read_text("utf-8"))
        (root / "docs" / "index.md").write_text(f"# Home\n\n{fault}\n")
        done = build(root / "mkdocs.yml", root / "site")
        assert done.returncode != 0 and sentence in done.stdout + done.stderr, done.stdout + done.stderr


# The page of what hunts found.


def test_what_hunts_found_is_on_the_site_and_not_written_into_the_page(site: Path) -> None:
    html = (site / "found" / "index.html").read_text("utf-8")
    source = (ROOT / "docs" / "found.md").read_text("utf-8")
    for kind in ("found", "judged", "crash"):
        for row in found.rows(ROOT, kind):
            assert row.wrong.split(":")[0] in unescape(html) and row.wrong not in source
    assert html.count("<table>") == 5
