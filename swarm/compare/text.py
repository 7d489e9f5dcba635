"""A comparison as a table for a terminal and as a page of Markdown. Pure."""

from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

from swarm.compare.analysis import MIN_PAIRS, interval_text
from swarm.compare.values import ArmResult, Comparison, Cost

Row = tuple[str, str, str]
Side = Sequence[ArmResult]


def comparison_lines(comparison: Comparison) -> Iterator[str]:
    """Plain lines: what was run, the two arms beside each other, the differences, the conclusion."""
    rows = [("", f"A: {comparison.a.name}", f"B: {comparison.b.name}"), *_rows(comparison)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    yield _what(comparison)
    for name, mine, theirs in rows:
        yield f"  {name:<{widths[0]}}  {mine:>{widths[1]}}  {theirs:>{widths[2]}}"
    yield from (f"B minus A, {name}: {text}" for name, text in _differences(comparison))
    yield comparison.conclusion


def comparison_markdown(comparison: Comparison) -> str:
    """The same and every pair, for `report/compare.md`."""
    lines = ["# A against B", "", _what(comparison), "", f"**{comparison.conclusion}**", ""]
    lines += [f"| | A: {_cell(comparison.a.name)} | B: {_cell(comparison.b.name)} |", "|---|---:|---:|"]
    lines += [f"| {name} | {_cell(mine)} | {_cell(theirs)} |" for name, mine, theirs in _rows(comparison)]
    lines += [
        "",
        "## B minus A (negative: B is better)",
        "",
        "| what | mean [95 % interval] |",
        "|---|---|",
    ]
    lines += [f"| {name} | {text} |" for name, text in _differences(comparison)]
    lines += ["", "## Pairs", "", *_pair_table(comparison), "", "## How to read this", "", *_notes(comparison)]
    return "\n".join(lines) + "\n"


def _what(comparison: Comparison) -> str:
    counts = sorted({pair.trials for pair in comparison.pairs})
    trials = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    said = {
        "standin": "stand-in data (says nothing about CIFAR-100)",
        "standin-text": "stand-in text (says nothing about a language)",
    }
    data = said.get(comparison.data, comparison.data)
    pairs = len(comparison.pairs)
    return (
        f"{comparison.target} on {comparison.device}, {data}, {comparison.budget} a trial; "
        f"{pairs} pair{'s' if pairs > 1 else ''}, {trials} trials an arm, side by side."
    )


def _rows(comparison: Comparison) -> Iterator[Row]:
    a, b = [pair.a for pair in comparison.pairs], [pair.b for pair in comparison.pairs]
    yield _row("baseline loss", a, b, lambda side: f"{fmean(r.baseline_loss for r in side):.4f}")
    yield _row("leading loss", a, b, lambda side: f"{fmean(r.leading_loss for r in side):.4f}")
    yield _row("confirmed loss", a, b, lambda side: f"{fmean(r.confirmed_loss for r in side):.4f}")
    yield _row("confirmed gains", a, b, lambda side: str(sum(r.confirmed_gains for r in side)))
    yield _row("trials complete", a, b, lambda side: str(sum(r.complete for r in side)))
    yield _row("trials failed", a, b, lambda side: _counts([r.failed for r in side]))
    yield _row("proposals refused", a, b, lambda side: _counts([r.refused for r in side]))
    yield from _cost_rows(comparison.cost_a, comparison.cost_b)


def _row(name: str, a: Side, b: Side, read: Callable[[Side], str]) -> Row:
    return name, read(a), read(b)


def _cost_rows(a: Cost, b: Cost) -> Iterator[Row]:
    yield "device minutes", f"{a.device_s / 60:.1f}", f"{b.device_s / 60:.1f}"
    yield "device minutes per confirmed gain", _minutes(a), _minutes(b)
    if a.calls == b.calls == 0:
        return
    yield "model calls", str(a.calls), str(b.calls)
    yield "tokens", _number(a.tokens), _number(b.tokens)
    yield "USD", _number(a.usd, 4), _number(b.usd, 4)
    yield "tokens per confirmed gain", _rate(a, a.tokens_per_gain), _rate(b, b.tokens_per_gain)
    yield "USD per confirmed gain", _rate(a, a.usd_per_gain, 4), _rate(b, b.usd_per_gain, 4)


def _minutes(cost: Cost) -> str:
    return "no gain" if cost.device_s_per_gain is None else f"{cost.device_s_per_gain / 60:.1f}"


def _rate(cost: Cost, value: float | None, digits: int = 0) -> str:
    return _number(value, digits) if cost.confirmed_gains else "no gain"


def _number(value: float | None, digits: int = 0) -> str:
    return "unknown" if value is None else f"{value:,.{digits}f}"


def _differences(comparison: Comparison) -> Iterator[tuple[str, str]]:
    yield "leading loss", interval_text(comparison.leading)
    yield "confirmed loss", interval_text(comparison.confirmed)
    for point in comparison.checkpoints[:-1]:
        yield f"leading loss after {point.trials} trials", interval_text(point.difference)


def _pair_table(comparison: Comparison) -> list[str]:
    lines = [
        "| seed | trials | leading A | leading B | confirmed A | confirmed B | longest block | side by side | study A "
        "| study B |"
    ]
    lines.append("|---:" * 8 + "|---" * 2 + "|")
    for pair in comparison.pairs:
        losses = (pair.a.leading_loss, pair.b.leading_loss, pair.a.confirmed_loss, pair.b.confirmed_loss)
        cells = " | ".join(f"{loss:.4f}" for loss in losses)
        studies = f"{pair.a.study_id} | {pair.b.study_id}"
        blocks = f"{pair.longest_block} | {pair.side_by_side:.0%}"
        lines.append(f"| {pair.seed} | {pair.trials} | {cells} | {blocks} | {studies} |")
    return lines


def _notes(comparison: Comparison) -> list[str]:
    return [
        "- Each pair is two studies with the same base program, seed and budget, run at the same time on one device. "
        "All is read at the trial count that both reached; noise floor, replicates and failures count as trials.",
        "- The leading loss is that of the program the study built on, chosen among noisy runs and therefore a little "
        "too good. The confirmed loss is that of what the finals kept, else the baseline's.",
        "- Intervals are percentile bootstraps over pairs, the same for each run of the analysis. With few pairs they "
        f"are narrower than they should be; below {MIN_PAIRS} pairs no difference is claimed.",
        "- Costs cover every call, refused and failed ones too. Unknown is not zero: one call without a known price "
        "makes the sum unknown. Embedded arms make no calls.",
        "- Longest block is the most trials that one arm started in a row while both had trials to come; 1 is strict "
        "alternation.",
    ]


def _counts(parts: list[dict[str, int]]) -> str:
    total: dict[str, int] = {}
    for part in parts:
        for name, count in part.items():
            total[name] = total.get(name, 0) + count
    listed = ", ".join(f"{count} {name}" for name, count in sorted(total.items(), key=lambda item: -item[1]))
    return listed or "0"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
