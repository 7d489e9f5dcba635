"""The page in a real Chromium, beside a study that goes on: at two widths, light and dark."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from factories.browser import SCHEMES, WIDTHS, chromium, drawn, first_paint_ms, page_at, serious, too_wide, unfold
from factories.settings import run_settings
from factories.studies import FakeStudy, demo_study, written
from fakes.git_repository import make_repository

from swarm.brain import Brain
from swarm.orchestrator.settings_file import save_settings
from swarm.records import Note
from swarm.report.figures import DRAWINGS

pytest.importorskip("uvicorn", reason="without the extra [web] the page is not verified")
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]


@contextmanager
def served(brain: Path) -> Iterator[str]:
    """The address that `swarm watch --web` prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "swarm", "watch", "--web", "--port", "0", "--brain", str(brain)],
        cwd=brain.parent, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        found = re.search(r"http://127\.0\.0\.1:\S+", process.stdout.readline())
        assert found is not None
        yield found[0]
    finally:
        process.send_signal(2)
        assert process.wait(timeout=20) == 0, "Ctrl-C leaves"
        process.stdout.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a study that was run here, with a trial that runs and a description that would like to be a script."""
    fake = demo_study()
    trial = fake.claim(parent="t0001", agent_id="worker_2", description="set X <img src=x onerror=alert(1)>")
    fake.start(trial)
    root = make_repository(tmp_path_factory.mktemp("web") / "repo").root
    save_settings(run_settings(root, study_id=fake.study.study_id))
    return written(fake.records, root / "swarm_brain.jsonl")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_whole_quiet_and_fits(browser: Any, brain: Path, tmp_path: Path, width: int, scheme: str) -> None:
    with served(brain) as address:
        page, said = page_at(browser, address, width, scheme)
        for name in ("history", "timeline"):
            drawn(page, name)
        assert serious(page) == []
        unfold(page)
        for name in DRAWINGS:
            drawn(page, name)
        page.locator("[data-table=ranking] table").first.wait_for(timeout=20_000)
        page.locator("[data-table=results] article.result").wait_for(timeout=20_000)
        assert too_wide(page, width) == [] and serious(page) == []
        small = page.evaluate(
            "[...document.querySelectorAll('button, select, input, summary')]"
            ".filter(one => one.getBoundingClientRect().height < 44).map(one => one.outerHTML)"
        )
        assert small == [], "a thumb finds them"
        assert page.locator("img").count() == 0
        page.screenshot(path=tmp_path / "page.png", full_page=True)
        if kept := os.environ.get("SWARM_SCREENSHOTS"):
            shutil.copy(tmp_path / "page.png", Path(kept) / f"{scheme}_{width}.png")
        page.close()
    assert said == []


def test_it_follows_the_study_and_a_button_reaches_the_brain(browser: Any, brain: Path) -> None:
    with served(brain) as address:
        page, said = page_at(browser, address, 390, "light")
        Brain(brain).append(Note(study_id="fake-study", description="a finding of now"))
        page.get_by_text("a finding of now").wait_for(timeout=20_000)
        page.get_by_label("Family").select_option("schedule")
        page.get_by_label("Why").fill("too slow")
        page.get_by_role("button", name="Veto", exact=True).click()
        page.get_by_text("Written: veto schedule.").wait_for(timeout=20_000)
        study = Brain(brain).snapshot().latest
        assert study is not None and study.vetoes["schedule"].description == "too slow"
        page.locator("dd", has_text="schedule").first.wait_for(timeout=20_000)
        stop = page.locator("button[value=drain]")
        stop.click()
        assert stop.inner_text() == "Tap again to stop"
        assert len(study.steers) == 1, "one tap stops nothing"
        page.close()
    assert said == []


def test_two_thousand_trials_are_painted_in_two_seconds(browser: Any, tmp_path: Path) -> None:
    fake = FakeStudy(seed=5)
    fake.measure_noise()
    while len(fake.study.trials) < 2000:
        fake.finish(fake.claim(parent="t0001", effect=fake.random.gauss(0.01, 0.03)), conclude_now=False)
    brain = tmp_path / "big.jsonl"
    Brain(brain).append(*[record.model_copy(update={"seq": 0, "prev": ""}) for record in fake.records])
    with served(brain) as address:
        page, said = page_at(browser, address, 1280, "light")
        painted = first_paint_ms(page)
        drawn(page, "history")
        redrawn = page.evaluate(
            """async () => {
                const token = new URLSearchParams(location.search).get('token'), spent = [];
                const plot = document.querySelector('[data-figure=history] .plot');
                for (let turn = 0; turn < 4; turn++) {
                    const answer = await fetch('figure/history?theme=light&token=' + token);
                    const figure = await answer.json(), began = performance.now();
                    await Plotly.react(plot, figure.data, figure.layout);
                    spent.push(performance.now() - began);
                }
                return Math.min(...spent);
            }"""
        )
        page.close()
    print(json.dumps({"first_paint_ms": round(painted), "redrawn_ms": round(redrawn), "at": time.time()}))
    assert said == []
    assert painted < 2000
