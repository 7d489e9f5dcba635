"""The results in Markdown, ready for docs/benchmarks.md, and the last words on a terminal."""

from datetime import UTC, datetime
from pathlib import Path

from evening_results import Results
from evening_steps import EXPECTED_COMPILED, TARGETS, name_of

MOST_SAID = 400  # characters of a step's figures in the table; all of them are in results.json


def text(results: Results) -> str:
    about = results.about
    card = about["card"] or f"no card: {about['cpu_slots']} CPU cores"
    day = datetime.fromtimestamp(float(results.calls[0]["began_at"] or 0), UTC).strftime("%Y-%m-%d")
    lines = [f"### {card}, {day}", ""]
    lines += [
        f"Driver {about['driver'] or 'none'}, torch {about['torch']}, Python {about['python']}, commit "
        f"{about['commit']}{', short budgets' if about['short'] else ''}. Load at each end of a step: "
        f"{_loads(results)}.",
        "",
        *_speed(results),
        *_studies(results),
        *_steps(results),
    ]
    if results.missing:
        lines += [f"Not reached: {', '.join(results.missing)}.", ""]
    return "\n".join(lines)


def ending(results: Results, folder: Path) -> str:
    """Which steps came to what, and what to do next."""
    width = max(map(len, results.planned))
    lines = []
    for name in results.planned:
        result = results.steps.get(name)
        said = "not reached" if result is None else f"{result.state:<8} {result.seconds:6.1f} s  {result.detail}"
        lines.append(f"{name:<{width}}  {said}".rstrip())
    spent = sum(float(call["seconds"] or 0) for call in results.calls)
    lines.append(
        f"{len(results.calls)} call(s), {spent:.0f} s in all. Files: {folder}/results.json, figure.png, table.md"
    )
    if results.missing:
        lines.append(f"{len(results.missing)} steps were not reached: the same command goes on with them.")
    return "\n".join(lines)


def _loads(results: Results) -> str:
    loads = [result.load for result in results.steps.values()]
    return f"{min(loads):.1f} to {max(loads):.1f}" if loads else "none"


def _speed(results: Results) -> list[str]:
    rows = []
    for target in TARGETS:
        eager = results.figures(name_of(target, "eager", 1)).get("images_per_s")
        for way in ("eager", "compiled"):
            alone = results.figures(name_of(target, way, 1))
            pair = results.figures(name_of(target, way, 2))
            if not alone:
                continue
            rate, both = alone.get("images_per_s"), pair.get("images_per_s_together")
            cells = (_of(alone, "images_per_s"), _ratio(rate, eager), _of(pair, "images_per_s_together"))
            cells += (_ratio(both, rate), _of(alone, "peak_vram_mb"), str(alone.get("compilation") or "-"))
            rows.append(f"| {target}, {way} | {' | '.join(cells)} |")
    if not rows:
        return []
    head = "| target | images/s alone | of eager | images/s of two together | of one alone | peak MiB | compilation |"
    note = f"Expected of compiled: at least {EXPECTED_COMPILED:g} times eager."
    return [head, "|---|---|---|---|---|---|---|", *rows, "", note, ""]


def _studies(results: Results) -> list[str]:
    names = ("trials_per_hour", "overhead_p50_s", "overlap_share", "reserved_mib", "peak_mib")
    rows = []
    for name in ("study, one worker", "study, two workers"):
        found = results.figures(name)
        if found:
            rows.append(f"| {name} | {_of(found, 'budget_s')} | {' | '.join(_of(found, key) for key in names)} |")
    if not rows:
        return []
    head = "| | budget s | trials an hour | overhead p50 s | overlap | reserved MiB | peak MiB |"
    return [head, "|---|---|---|---|---|---|---|", *rows, ""]


def _steps(results: Results) -> list[str]:
    lines = ["| step | came to | seconds |", "|---|---|---|"]
    shown = ("gpu selftest", "tests marked gpu", "programs that lack memory or compile", "a kill of everything")
    for name, result in results.steps.items():
        said = result.detail.splitlines()[-1][:200] if result.detail else ""
        if name in shown and result.state == "ok":
            said = "; ".join(f"{key}: {value}" for key, value in result.figures.items())[:MOST_SAID]
        lines.append(f"| {name} | {f'{result.state}: {said}' if said else result.state} | {result.seconds:.0f} |")
    return [*(line.replace("\n", " ") for line in lines), ""]


def _of(figures: object, key: str) -> str:
    value = figures.get(key) if isinstance(figures, dict) else None
    return "-" if value is None else f"{value:,.0f}" if isinstance(value, float) and value >= 1000 else f"{value}"


def _ratio(value: object, base: object) -> str:
    if not isinstance(value, float | int) or not isinstance(base, float | int) or not base:
        return "-"
    return f"{value / base:.2f}"
