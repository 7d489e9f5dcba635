"""A real Chromium for tests of pages: opens one at a width and in a scheme, and tells everything that is wrong with it.

Skips, and says what is not verified, where playwright, Chromium or axe-core is missing.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

NEAR = ("http://127.0.0.1:", "file:", "data:", "blob:")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SCHEMES = ("light", "dark")
WIDTHS = (390, 1280)


@contextmanager
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="without playwright no page is verified in a browser")
    if CHROMIUM is None:
        pytest.skip("no Chromium (apt-get install chromium): not verified in one")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


def page_at(browser: Any, address: str, width: int, scheme: str) -> tuple[Any, list[str]]:
    """The page, and a list that grows with whatever it complains of or asks for from elsewhere."""
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    said: list[str] = []
    page.on("console", lambda one: said.append(one.text) if one.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
    page.on("request", lambda one: said.append(f"asked {one.url}") if not one.url.startswith(NEAR) else None)
    page.goto(address)
    return page, said


def drawn(page: Any, name: str) -> None:
    """Wait until a figure is there."""
    place = page.locator(f"[data-figure={name}]")
    place.scroll_into_view_if_needed()
    place.locator(".plot[data-drawn]").wait_for(timeout=60_000)


def unfold(page: Any) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")  # more come as they fill


def serious(page: Any) -> list[tuple[str, str, str]]:
    """What axe-core finds serious or critical: (rule, first node, why)."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="without axe-core: not verified")
    found = axe.Axe().run(page).response["violations"]
    return [
        (one["id"], one["nodes"][0]["html"][:200], one["nodes"][0]["failureSummary"][:200])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def too_wide(page: Any, width: int) -> list[str]:
    """Elements that reach beyond the right edge, where the page can be scrolled to the side."""
    if page.evaluate("document.documentElement.scrollWidth") <= width:
        return []
    return list(
        page.evaluate(
            "width => [...document.querySelectorAll('body *')].filter(one => one.getBoundingClientRect().right > width)"
            ".map(one => one.outerHTML.slice(0, 120)).slice(0, 5)",
            width,
        )
    )


def first_paint_ms(page: Any) -> float:
    return float(
        page.evaluate(
            "new Promise(done => new PerformanceObserver(list => list.getEntries().forEach(one => "
            "one.name === 'first-contentful-paint' && done(one.startTime))).observe({type: 'paint', buffered: true}))"
        )
    )
