"""report.html in a real Chromium: at two widths, light and dark, on paper, and with many trials."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from factories.browser import SCHEMES, WIDTHS, chromium, drawn, first_paint_ms, page_at, serious, too_wide, unfold
from factories.studies import FakeStudy, demo_study

from swarm.records import FailReason
from swarm.report.contents import PARTS
from swarm.report.evidence import Evidence, gather
from swarm.report.figures import DRAWINGS
from swarm.report.render import report_html
from swarm.report.results import results

pytestmark = pytest.mark.slow
FIRST_VIEW_PX = 4000
LARGEST_BYTES = 5_000_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


def finished(fake: FakeStudy) -> FakeStudy:
    """With finals, in which one program is kept."""
    fake.try_change(effect=-0.3, description="a <script>alert(1)</script> of a change", constants={"LR": (1, 2)})
    fake.fail(fake.claim(parent="t0001"), FailReason.OUT_OF_MEMORY)
    fake.hold_finals(12)
    return fake


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = finished(demo_study()).study
    path = tmp_path_factory.mktemp("report") / "report.html"
    text = gather(study, lambda program: "".join(f"line_{n} = {n * len(program.name)}\n" for n in range(60)))
    path.write_text(report_html(study, Evidence(text.edits, dict.fromkeys(text.changes, "-a\n+b\n"))), encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_report_is_whole_quiet_fits_and_can_be_read_by_machines(
    browser: Any, written: Path, width: int, scheme: str
) -> None:
    page, said = page_at(browser, written.as_uri(), width, scheme)
    drawn(page, "history")
    assert too_wide(page, width) == [] and serious(page) == []
    if kept := os.environ.get("SWARM_SCREENSHOTS"):
        page.screenshot(path=Path(kept) / f"report_{scheme}_{width}.png", full_page=True)
    unfold(page)
    for name in DRAWINGS:
        drawn(page, name)
        assert page.locator(f"figure[data-figure={name}] table").count() == 1, "numbers for who cannot see it"
    assert too_wide(page, width) == [] and serious(page) == []
    grounds = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert grounds == ("rgb(21, 24, 27)" if scheme == "dark" else "rgb(255, 255, 255)")
    if kept:
        page.screenshot(path=Path(kept) / f"report_{scheme}_{width}_unfolded.png", full_page=True)
    page.close()
    assert said == []


def test_what_is_kept_stands_first_with_its_diff_and_its_command(browser: Any, written: Path) -> None:
    page, _ = page_at(browser, written.as_uri(), 1280, "light")
    best = results(finished(demo_study()).study)[0]
    top = page.locator("article.result").first
    assert best.program in top.inner_text() and best.adopt in top.inner_text()
    assert top.locator(".diff .added").first.is_visible()
    assert top.bounding_box()["y"] < 700
    page.close()


def test_on_paper_it_is_dark_on_white_and_unfolded(browser: Any, written: Path) -> None:
    page, said = page_at(browser, written.as_uri(), 1280, "dark")
    drawn(page, "history")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("figure .plot[data-drawn=light]").count() == len(DRAWINGS)
    assert page.locator("details:not(.rest):not([open])").count() == 0
    assert page.locator("details.rest[open]").count() == 0
    assert len(page.pdf()) > 50_000
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.locator("figure[data-figure=history] .plot[data-drawn=dark]").wait_for(timeout=20_000)
    page.close()
    assert said == []


def test_five_hundred_trials_are_one_short_page(browser: Any, tmp_path: Path) -> None:
    fake = FakeStudy(seed=5)
    fake.measure_noise()
    while len(fake.study.trials) < 480:
        trial = fake.claim(
            parent="t0001", effect=fake.random.gauss(0.01, 0.03), constants={"LR": (1, len(fake.records))}
        )
        if fake.random.random() < 0.1:
            fake.fail(trial)
        else:
            fake.finish(trial, conclude_now=len(fake.study.trials) > 460)
    path = tmp_path / "report.html"
    path.write_text(report_html(finished(fake).study), encoding="utf-8")
    assert path.stat().st_size < LARGEST_BYTES
    for width in WIDTHS:
        page, said = page_at(browser, path.as_uri(), width, "light")
        assert page.evaluate("document.documentElement.scrollHeight") < FIRST_VIEW_PX, width
        assert first_paint_ms(page) < 2000
        page.close()
        assert said == []


def test_without_scripts_everything_but_the_figures_is_there(browser: Any, written: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(written.as_uri())
    assert "Figures need scripts" in page.inner_text("body")
    titles = page.locator("summary").all_inner_texts()
    assert any(title.startswith(PARTS["integrity"].title) for title in titles)
    context.close()
