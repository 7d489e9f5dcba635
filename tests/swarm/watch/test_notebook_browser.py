"""The watch notebook in a real JupyterLab, in a real Chromium, beside a study that goes on; and as an HTML file."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
import pytest
from factories.settings import run_settings
from factories.studies import demo_study, written
from fakes.git_repository import make_repository

from swarm.brain import Brain
from swarm.orchestrator.settings_file import save_settings
from swarm.records import Record, StudyClosed

sync_api = pytest.importorskip("playwright.sync_api", reason="without playwright notebooks in a browser are unverified")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium (apt-get install chromium): not verified in one"),
    pytest.mark.skipif(find_spec("jupyterlab") is None, reason="without the extra [notebook] JupyterLab is unverified"),
]
ROOT = Path(__file__).parents[3]
TOKEN = "of-this-test"
STARTS = 8
POINTS = """() => ['history', 'timeline', 'lineage'].map(name => {
    const plot = document.querySelector(`[data-figure=${name}] .js-plotly-plot`);
    return plot && plot.data ? plot.data.reduce((sum, trace) => sum + (trace.x || trace.y || []).length, 0) : 0;
})"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """As after git clone: a committed brain of another's study, and the notebooks."""
    made = make_repository(tmp_path / "clone")
    written(demo_study(pairs=2).records, made.root / "swarm_brain.jsonl")
    shutil.copytree(ROOT / "notebooks", made.root / "notebooks", ignore=shutil.ignore_patterns(".*"))
    made.commit("a recorded study")
    return made.root


@pytest.fixture
def address(clone: Path) -> Iterator[str]:
    """Of JupyterLab, as `make notebook` starts it where there is no screen."""
    recipe = re.search(r"jupyter lab (.*)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert recipe is not None
    flags = recipe[1].replace("$(NO_BROWSER)", "--no-browser").split()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "jupyterlab", *flags, f"--ServerApp.port={port}", f"--IdentityProvider.token={TOKEN}"),
        *("--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None"),
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    process = subprocess.Popen(
        command, cwd=clone, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        lines = iter(process.stderr.readline, "")
        found = next(match[0] for line in lines if (match := re.search(r"http://127\.0\.0\.1:\S+", line)))
        yield f"{found.partition('?')[0]}?token={TOKEN}"  # Jupyter hides one that it was given
    finally:
        process.terminate()
        process.wait(timeout=30)
        process.stderr.close()


def until(asked: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not asked():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def run_all(page: Any) -> None:
    page.wait_for_function("window.jupyterapp", timeout=60_000)
    page.evaluate("async () => { await window.jupyterapp.restored; }")
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for(timeout=60_000)
    until(lambda: page.evaluate(
        "() => { const panel = window.jupyterapp.shell.currentWidget; "
        "return !!panel?.sessionContext?.session?.kernel && panel.sessionContext.kernelDisplayStatus === 'idle'; }"
    ), "the kernel is there")  # fmt: skip
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")


def own(records: list[Record]) -> list[Record]:
    return [one.model_copy(update={"seq": 0, "prev": "", "id": "", "study_id": "mine"}) for one in records]


def kept(page: Any, name: str) -> None:
    if folder := os.environ.get("SWARM_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"notebook_{name}.png", full_page=True)


@pytest.mark.timeout(600)
def test_the_view_is_never_empty_and_follows_a_study(browser: Any, address: str, clone: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 2600})
    page.goto(address)
    for start in range(STARTS):
        run_all(page)
        page.locator(".swarm-head", has_text="A recorded study").first.wait_for(timeout=60_000)
        until(lambda: min(page.evaluate(POINTS)) > 0, f"start {start + 1}: every figure has its marks")
        assert "A recorded study" in page.locator(".swarm-head").first.inner_text()
        if start < STARTS - 1:
            page.evaluate("() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    kept(page, "recorded")

    brain, records = Brain(clone / "swarm_brain.jsonl"), own(demo_study(pairs=4).records)
    save_settings(run_settings(clone, study_id="mine"))
    brain.append(*records[:20])
    page.locator(".swarm-head", has_text="mine").first.wait_for(timeout=30_000)
    until(lambda: min(page.evaluate(POINTS)) > 0, "drawn")
    before = page.evaluate(POINTS)
    zoomed = "() => document.querySelector('[data-figure=history] .js-plotly-plot').layout.xaxis.range"
    page.evaluate(
        "() => Plotly.relayout(document.querySelector('[data-figure=history] .js-plotly-plot'), "
        "{'xaxis.range': [1, 3]})"
    )
    brain.append(*records[20:])
    until(lambda: page.evaluate(POINTS)[0] > before[0], "it follows")
    assert page.evaluate(zoomed) == [1, 3], "zoom survives"

    page.locator(".widget-dropdown select").select_option("veto")
    page.get_by_placeholder("t0012").fill("schedule")
    page.get_by_placeholder("one line, for the models").fill("too slow")
    page.locator(".widget-button").click()
    page.get_by_text("Written: veto schedule.").wait_for(timeout=20_000)
    study = Brain(brain.path).snapshot().studies["mine"]
    assert [(one.action, one.subject, one.description) for one in study.steers] == [("veto", "schedule", "too slow")]
    brain.append(StudyClosed(study_id="mine", reason="trials", description="the end"))
    page.locator(".swarm-head", has_text="closed: trials").first.wait_for(timeout=30_000)
    kept(page, "own")
    page.close()


@pytest.mark.skipif(find_spec("nbconvert") is None, reason="without nbconvert HTML of a notebook is not verified")
@pytest.mark.parametrize(("name", "plots"), [("watch", 3), ("results", 10)])
@pytest.mark.timeout(300)
def test_a_notebook_made_into_html_shows_its_figures_without_a_network(
    browser: Any, clone: Path, tmp_path: Path, name: str, plots: int
) -> None:
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--execute", f"--output-dir={tmp_path}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SWARM_NOTEBOOK_MAX_SECONDS": "1"}
    notebook = clone / "notebooks" / f"{name}.ipynb"
    subprocess.run([*command, str(notebook)], cwd=clone, env=environment, check=True, timeout=200, capture_output=True)
    assert nbformat.read(notebook, as_version=4).cells[1].outputs == []
    page = browser.new_page(viewport={"width": 1280, "height": 900}, offline=True)
    page.goto((tmp_path / f"{name}.html").as_uri())
    until(lambda: page.locator(".js-plotly-plot .main-svg").count() >= plots, f"{plots} figures are drawn", 30)
    if name == "watch":
        assert min(page.evaluate(POINTS)) > 0
    kept(page, f"html_{name}")
    page.close()
