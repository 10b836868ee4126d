"""The site in a real browser: no error, no request to another host, no page that scrolls sideways.

    python -m tests.browser                 builds the site; each page at 390 and 1280 pixels, light and dark
    python -m tests.browser --shots FOLDER  keeps a screenshot of each

Before it judges the site it opens four pages with a planted fault each, and fails unless it finds them: a
check that cannot fail proves nothing. It needs Debian's Chromium and Node.js, and fails without them.
"""

import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "build" / "site"
BUILD = ROOT / "build" / "browser"
PLAYWRIGHT = "1.64.1"
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
TIME_LIMIT_S = 300
HEAD = '<!doctype html><html lang="en"><meta charset="utf-8"><link rel="icon" href="data:,"><title>x</title>'

PLANTED = {
    "/error.html": ("console error", "<script>throw new Error('planted')</script>"),
    "/host.html": ("request to another host", '<img alt="" src="http://example.invalid/a.png">'),
    "/wide.html": ("scrolls sideways", '<div style="width:1400px">wide</div>'),
    "/missing.html": ("request failed", '<script src="/slow.js"></script>'),
}
"""Path of a bad page -> the fault that must be found on it, and the page's body."""


class Fault(NamedTuple):
    """One thing that a browser found wrong with a page."""

    path: str
    width: int
    colour_scheme: str
    fault: str
    what: str

    def __str__(self) -> str:
        return f"{self.path} at {self.width} pixels, {self.colour_scheme}: {self.fault}: {self.what}"


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and says nothing; breaks the connection at /slow.js, as a planted fault."""

    def do_GET(self) -> None:
        if self.path == "/slow.js":
            self.connection.close()
            return
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The folder on loopback, on a free port; gives the origin."""
    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def chromium() -> str:
    """Its path. SystemExit when there is none."""
    for name in CHROMIUMS:
        path = shutil.which(name)
        if path:
            return path
    raise SystemExit("browser: no Chromium here: `apt-get install chromium` on Debian")


def playwright() -> str:
    """The URL of playwright-core in build/browser, installed if need be. SystemExit when it cannot be."""
    for tool in ("node", "npm"):
        if not shutil.which(tool):
            raise SystemExit(f"browser: {tool} is not on the PATH: install Node.js 20 with npm")
    package = BUILD / "node_modules" / "playwright-core"
    told = package / "package.json"
    if not told.exists() or json.loads(told.read_text("utf-8"))["version"] != PLAYWRIGHT:
        BUILD.mkdir(parents=True, exist_ok=True)
        quiet = ["--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
        command = ["npm", "install", *quiet, "--prefix", str(BUILD), f"playwright-core@{PLAYWRIGHT}"]
        environment = {**os.environ, "PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD": "1"}
        done = subprocess.run(command, cwd=BUILD, capture_output=True, text=True, env=environment)
        if done.returncode:
            raise SystemExit(f"browser: npm could not install playwright-core:\n{done.stdout}{done.stderr}")
    return (package / "index.mjs").as_uri()


def look(folder: Path, paths: Sequence[str], shots: Path | None = None) -> list[Fault]:
    """Everything wrong with these pages of a folder."""
    with served(folder) as origin:
        command = ["node", str(ROOT / "tests" / "browser.mjs"), playwright(), chromium(), origin]
        command += [str(shots) if shots else "-", *paths]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT_S)
    if done.returncode:
        raise SystemExit(f"browser: Chromium could not be driven:\n{done.stderr}")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [Fault(one["path"], one["width"], one["colorScheme"], one["fault"], one["what"]) for one in found]


def blind_spots() -> list[str]:
    """A sentence for each planted fault that is not found; empty when the checks can see."""
    with tempfile.TemporaryDirectory() as folder:
        for path, (_, body) in PLANTED.items():
            (Path(folder) / path.strip("/")).write_text(HEAD + body, "utf-8")
        found = {(one.path, one.fault) for one in look(Path(folder), list(PLANTED))}
    return [
        f"browser: a planted fault was not seen: {fault} at {path}"
        for path, (fault, _) in PLANTED.items()
        if (path, fault) not in found
    ]


def build() -> None:
    """The strict build. SystemExit with what mkdocs says."""
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"browser: the site does not build:\n{done.stdout}{done.stderr}")


def pages() -> list[str]:
    """The path of every page of the built site."""
    found = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))
    return ["/" + path.removesuffix("index.html") for path in found]


def main(arguments: list[str]) -> int:
    shots = Path(arguments[arguments.index("--shots") + 1]).resolve() if "--shots" in arguments else None
    if shots:
        shots.mkdir(parents=True, exist_ok=True)
    unseen = blind_spots()
    build()
    paths = pages()
    faults = [] if unseen else look(SITE, paths, shots)
    print(
        "\n".join([
            *unseen, *map(str, faults),
            f"browser: {len(PLANTED) - len(unseen)} of {len(PLANTED)} planted faults seen; "
            f"{len(paths)} pages, 2 widths, 2 colour schemes, {len(faults)} faults",
        ])
    )  # fmt: skip
    return 1 if faults or unseen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
