"""Takes the README's pictures of the recorded study: docs/pictures/report.png and terminal.png.

    python docs/make_pictures.py [--out FOLDER]     # make pictures

The report is the one that `swarm report` writes, the terminal's frame the one of `swarm watch --once` a minute after
the study's end, both through a headless Chromium. Needs the group `browser` of pyproject.toml and Chromium.
"""

import argparse
import shutil
import sys
import tempfile
from io import StringIO
from pathlib import Path

from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.terminal_theme import MONOKAI

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from swarm.brain import Brain  # noqa: E402
from swarm.cli.reporting import write_report  # noqa: E402
from swarm.clock import SystemClock  # noqa: E402
from swarm.watch.terminal import picture  # noqa: E402
from swarm.watch.watching import watch_study  # noqa: E402

BRAIN = ROOT / "swarm_brain.jsonl"
COLUMNS = 110
REPORT_SIZE = {"width": 1180, "height": 1390}
_FRAME = """<body style="margin:0"><pre style="display:inline-block;margin:0;padding:14px 18px;background:{background};
color:{foreground};font:13px/1.35 'DejaVu Sans Mono',Menlo,Consolas,monospace"><code>{code}</code></pre></body>"""


class JustEnded(SystemClock):
    """A minute after the recorded study's end, so that the picture is the same each time."""

    def __init__(self, end: float) -> None:
        self._end = end

    def now(self) -> float:
        return self._end + 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        raise SystemExit("there is no Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        write_report(BRAIN, None, Path(folder))
        (Path(folder) / "terminal.html").write_text(terminal(), encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page(viewport=REPORT_SIZE, color_scheme="light")
        page.goto((Path(folder) / "report.html").as_uri())
        page.locator("[data-figure=history] .plot[data-drawn]").wait_for()
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=out / "report.png")
        page.goto((Path(folder) / "terminal.html").as_uri())
        page.locator("pre").screenshot(path=out / "terminal.png")
        browser.close()
    for name in ("report.png", "terminal.png"):
        print(f"{out / name}: {(out / name).stat().st_size // 1024} kB")


def terminal() -> str:
    """The frame as HTML."""
    brain = Brain(BRAIN)
    study = brain.snapshot().latest
    assert study is not None and study.closed is not None
    seen = watch_study(brain, None, JustEnded(study.closed.at), ledger=False).need()
    console = Console(width=COLUMNS, record=True, file=StringIO(), force_terminal=True, highlight=False)
    console.print(picture(seen, COLUMNS))
    return console.export_html(theme=MONOKAI, inline_styles=True, code_format=_FRAME)


if __name__ == "__main__":
    main()
