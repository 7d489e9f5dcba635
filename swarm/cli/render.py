"""Tables and lines for people. Takes a summary or a state, returns rich renderables or strings."""

from collections.abc import Iterator
from datetime import datetime

from rich.table import Table
from rich.text import Text

from swarm.records import FailReason
from swarm.report.events import Events
from swarm.report.summary import ProgramRow, StudySummary
from swarm.study.state import StudyState
from swarm.target.objective import Objective
from swarm.verdict.standing import Standing

COLOURS = {
    Standing.KEPT: "bold green",
    Standing.LEADING: "green",
    Standing.SUPERSEDED: "magenta",
    Standing.BASELINE: "cyan",
    Standing.DISCARDED: "dim",
    Standing.INCONCLUSIVE: "yellow",
}
TOP_ROWS = 10
_HITS = 6  # the column of the top-1 accuracy


def headline(summary: StudySummary) -> Text:
    """Two lines: what is studied, and where it stands."""
    text = Text()
    text.append(summary.study_id, style="bold")
    text.append(f"  {summary.device}, {summary.budget} a trial, ")
    if summary.caution is not None:
        text.append(summary.caution, style="bold red")
    else:
        text.append(f"{summary.data}, {summary.grade}")
    asked = summary.trials_wanted
    wanted = f" of {asked}" if asked and summary.trials <= asked else ""
    failed = sum(count for reason, count in summary.failed.items() if reason != FailReason.PRUNED)
    text.append(f"\n{summary.trials}{wanted} trials: {summary.complete} complete, {summary.running} running")
    if failed:
        text.append(f", {failed} failed", style="red")
    if summary.refused:
        text.append(f", {sum(summary.refused.values())} proposals refused")
    text.append(f"; {summary.kept} kept")
    if summary.held_for_finals:
        text.append(f"; {summary.held_for_finals} slots held for the finals")
    if summary.noise_sigma is not None:
        sigma = summary.objective.size(summary.noise_sigma)
        text.append(f"; noise floor {sigma} ({summary.noise_degrees} degrees of freedom)")
    else:
        text.append("; noise floor not measured yet")
    if summary.pruned:
        rate, upper = summary.false_prune_rate, summary.false_prune_upper
        text.append(f"; {summary.pruned} ended early")
        if rate is not None and upper is not None:
            text.append(f", false prunes {rate:.0%} of {summary.audited} audited, at most {upper:.0%}")
    if summary.vetoed:
        text.append(f"; vetoed: {', '.join(summary.vetoed)}")
    if summary.closed:
        text.append(f"; closed: {summary.closed}")
    return text


def ranking_table(summary: StudySummary, rows: int = TOP_ROWS) -> Table:
    """What is kept, what leads, then the rest by their means."""
    table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    for name, justify in (("#", "right"), ("program", "left"), (summary.objective.name, "right"), ("n", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    hits = _has_hits(summary)
    for name in ("vs base", "beats parent", *(("top-1",) if hits else ())):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    table.add_column("standing", no_wrap=True, min_width=len("inconclusive"))
    table.add_column("change", overflow="ellipsis", no_wrap=True, ratio=1)
    for row in summary.ranking[:rows]:
        cells = [cell for place, cell in enumerate(_cells(row, summary.objective)) if hits or place != _HITS]
        table.add_row(*map(Text, cells), style=COLOURS.get(row.standing, ""))  # Text: a proposal is no markup
    return table


def ranking_lines(summary: StudySummary, rows: int = TOP_ROWS) -> Iterator[str]:
    """The same as plain lines, for pipes and logs."""
    name, hits = summary.objective.name, _has_hits(summary)
    head = ("rank", "program", name, "n", "vs base", "beats parent", "top-1", "standing", "change")
    for cells in (head, *(_cells(row, summary.objective) for row in summary.ranking[:rows])):
        rank, program, value, count, delta, better, top1, standing, change = cells
        yield (
            f"{rank:>4} {program:<8} {value:>{max(7, len(name))}} {count:>3} {delta:>8} {better:>12} "
            f"{f'{top1:>6}  ' if hits else ' '}{standing:<12}  {change}"
        )


class EventLines:
    """The study as plain lines with their times, each told once. Feed it the same growing state again and again."""

    def __init__(self) -> None:
        self._events = Events()

    def fresh(self, study: StudyState) -> Iterator[str]:
        """Lines for what is new since the last call, in the order of the brain."""
        for event in self._events.fresh(study):
            yield f"{datetime.fromtimestamp(event.at):%H:%M:%S} {event.text}"


def _has_hits(summary: StudySummary) -> bool:
    """Whether a program names classes: only then there is a top-1 accuracy."""
    return any(row.top1 is not None for row in summary.ranking)


def _cells(row: ProgramRow, objective: Objective) -> tuple[str, ...]:
    return (
        str(row.rank),
        row.program,
        objective.size(row.loss),
        str(row.replicates),
        objective.change(objective.cost(row.delta_baseline)) if row.delta_baseline is not None else "",
        f"{row.probability:.2f}" if row.probability is not None else "",
        f"{100 * row.top1:.1f}" if row.top1 is not None else "",
        row.standing,
        row.description,
    )
