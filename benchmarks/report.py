"""Watching and reading a brain of 2,000 trials: the report, each figure, the first paint of page and report.

    python benchmarks/report.py [--json] [--trials N]

The brain is synthetic and labelled as such. One line a figure: seconds or milliseconds of wall time and of this
process's own CPU (`cpu`), and the limit. First paint is Chromium's own first-contentful-paint, the median of three
loads at 1,280 pixels; without playwright or Chromium those lines are left out, and that is said on stderr.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from factories.browser import CHROMIUM, first_paint_ms, page_at  # noqa: E402
from factories.studies import FakeStudy  # noqa: E402

from swarm.brain import Brain  # noqa: E402
from swarm.report.figures import DRAWINGS, draw  # noqa: E402
from swarm.report.figures.drawing import Theme  # noqa: E402
from swarm.report.render import report_html  # noqa: E402
from swarm.study.state import StudyState  # noqa: E402

REPORT_LIMIT_S = 10.0
FIGURE_LIMIT_MS = 200.0
PAINT_LIMIT_MS = 2000.0
CONSTANTS = {"MAX_LR": (0.003, 0.03, 0.1, 0.2), "WIDTH": (32, 48, 64), "ACT": ("silu", "gelu"), "DROP": (0.0, 0.1, 0.2)}
Figure = dict[str, str | float]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--trials", type=int, default=2000)
    options = parser.parse_args()
    fake = synthetic(options.trials)
    with tempfile.TemporaryDirectory() as folder:
        for figure in figures(fake, Path(folder)):
            print(json.dumps(figure) if options.json else _text(figure), flush=True)
    return 0


def synthetic(trials: int) -> FakeStudy:
    """Two workers, edits of constants and of programs, failures, outliers, curves."""
    fake, generator = FakeStudy(seed=5), random.Random(5)
    fake.measure_noise()
    while len(fake.study.trials) < trials:
        name, values = generator.choice(list(CONSTANTS.items()))
        parents = list(fake.study.programs)[-50:] if generator.random() < 0.3 else ["t0001"]
        trial = fake.claim(
            parent=generator.choice(parents), effect=generator.gauss(0.01, 0.03),
            agent_id=f"worker_{len(fake.records) % 2}",
            constants={name: (1, generator.choice(values))} if generator.random() < 0.7 else {},
        )  # fmt: skip
        if generator.random() < 0.05:
            fake.fail(trial)
        else:
            curve = [(step / 20, 3 - step / 20) for step in range(21)]
            fake.finish(trial, 9.0 if generator.random() < 0.02 else None, conclude_now=False, curve=curve)
    return fake


def figures(fake: FakeStudy, folder: Path) -> Iterator[Figure]:
    study = fake.study
    took, page = _timed(lambda: report_html(study), 1)
    yield {"figure": "report.html", "unit": "s", **took, "limit": REPORT_LIMIT_S, "bytes": len(page.encode())}
    for name in DRAWINGS:
        took, _ = _timed(lambda name=name: draw(name, study).to_json(Theme.DARK), 5)  # type: ignore[misc]
        in_ms = {key: 1000 * seconds for key, seconds in took.items()}
        yield {"figure": f"figure {name}", "unit": "ms", **in_ms, "limit": FIGURE_LIMIT_MS}
    report, brain = folder / "report.html", folder / "swarm_brain.jsonl"
    report.write_text(page, encoding="utf-8")
    Brain(brain).append(*[record.model_copy(update={"seq": 0, "prev": ""}) for record in fake.records])
    yield from paints(report, brain, study)


def paints(report: Path, brain: Path, study: StudyState) -> Iterator[Figure]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        print("no playwright: first paint is not measured", file=sys.stderr)
        return
    if CHROMIUM is None:
        print("no Chromium: first paint is not measured", file=sys.stderr)
        return
    command = [sys.executable, "-m", "swarm", "watch", "--web", "--port", "0", "--brain", str(brain)]
    served = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert served.stdout is not None
    address = served.stdout.readline().split(" at ")[1].strip()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            for name, place in (("first paint of the page", address), ("first paint of the report", report.as_uri())):
                seen = [_paint(browser, place) for _ in range(3)]
                yield {"figure": name, "unit": "ms", "wall": statistics.median(seen), "limit": PAINT_LIMIT_MS}
            browser.close()
    finally:
        served.terminate()
        served.wait(timeout=20)


def _paint(browser: object, place: str) -> float:
    page, _ = page_at(browser, place, 1280, "light")
    painted = first_paint_ms(page)
    page.close()
    return painted


def _timed(work: Callable[[], str], rounds: int) -> tuple[dict[str, float], str]:
    """Medians of wall and CPU seconds."""
    walls, cpus, made = [], [], ""
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        made = work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return {"wall": statistics.median(walls), "cpu": statistics.median(cpus)}, made


def _text(figure: Figure) -> str:
    cpu = f" (cpu {figure['cpu']:.3g})" if "cpu" in figure else ""
    return f"{figure['figure']}: {figure['wall']:.3g} {figure['unit']}{cpu}, limit {figure['limit']:g}"


if __name__ == "__main__":
    raise SystemExit(main())
