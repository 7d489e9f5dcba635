"""`swarm compare`: run the pairs, tell how they go, print the table and write the report."""

from pathlib import Path

from rich.console import Console

from swarm.cli.render import EventLines
from swarm.cli.terminal import lasting_console
from swarm.clock import SystemClock
from swarm.compare import CompareOptions, comparison_lines, comparison_markdown, run_comparison
from swarm.study.state import StudyState

REPORT_FILE = "compare.md"


def run_compare(options: CompareOptions, cwd: Path, report: Path, *, as_json: bool) -> int:
    """0 when it ended by itself or was drained, 130 when it was stopped at once; either way with what was measured."""
    with lasting_console(stderr=as_json) as console:
        return _run_compare(options, cwd, report, _Progress(console), as_json=as_json)


def _run_compare(options: CompareOptions, cwd: Path, report: Path, progress: "_Progress", *, as_json: bool) -> int:
    finished = run_comparison(options, cwd, SystemClock(), progress.say, progress.tick)
    comparison = finished.comparison
    report.mkdir(parents=True, exist_ok=True)
    (report / REPORT_FILE).write_text(comparison_markdown(comparison), encoding="utf-8")
    if as_json:
        print(comparison.model_dump_json())
    else:
        progress.say("")
        for line in comparison_lines(comparison):
            progress.say(line)
        progress.say(f"Wrote {report / REPORT_FILE}")
    return 130 if finished.stopped > 1 else 0


class _Progress:
    """Both arms' events as plain lines, each told once and marked with its arm."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._events: dict[str, EventLines] = {}

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def tick(self, label: str, study: StudyState) -> None:
        events = self._events.setdefault(study.study_id, EventLines())
        for line in events.fresh(study):
            self.say(f"{label} {line}")
