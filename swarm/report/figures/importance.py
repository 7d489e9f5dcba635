"""How much the result moves when a constant is edited."""

import html

from swarm.report.figures.drawing import Drawing
from swarm.report.figures.effects import Effect, effects
from swarm.report.figures.style import BLUE, GREY, SKY, common_layout, empty_layout
from swarm.study.state import StudyState
from swarm.verdict import study_noise

TITLE = "Importance of constants"
MOST = 20
BEYOND = 4  # times the middle effect, from which on an interval's end does not set the axis


def draw_importance(study: StudyState | None) -> Drawing:
    """For each constant the median size of the change from parent to child, with its 95 % interval, and what noise
    alone would give.

    An interval that reaches down to the noise is no proof of an effect; a range (open mark, fewer than six edits) is no
    interval. The sign is in the hover text: large is not good.
    """
    if study is None:
        return Drawing(layout=empty_layout(TITLE, "No study yet. Start one with: swarm up"))
    noise = study_noise(study)
    found = effects(study, noise.sigma if noise is not None else None)
    if not found:
        return Drawing(layout=empty_layout(TITLE, "No edit of a constant has a result yet.", study))
    shown = found[:MOST][::-1]
    more = f"{MOST} of {len(found)} constants; " if len(found) > MOST else ""
    note = f"{more}median size of the change with 95 % interval; open marks: fewer than six edits, their range"
    drawing = Drawing(layout=common_layout(study, TITLE, note=note, height=190 + 30 * len(shown)))
    names = [_name(effect) for effect in shown]
    _add_noise(drawing, shown, names)
    for sure, label in ((True, "median and 95 % interval"), (False, "median and range, fewer than six edits")):
        chosen = [(name, effect) for name, effect in zip(names, shown, strict=True) if effect.sure is sure]
        _add(drawing, study, chosen, label, _end(shown), sure=sure)
    unit = f" ({study.objective.unit})" if study.objective.unit else ""
    drawing.layout["xaxis"] = {
        "title": {"text": f"change of the {study.objective.name}{unit}, up or down"},
        "range": [0, _end(shown)],
    }
    drawing.layout["yaxis"] = {"categoryorder": "array", "categoryarray": names, "automargin": True}
    return drawing


def _name(effect: Effect) -> str:
    return f"{html.escape(effect.constant, quote=False)} ({len(effect.edits)})"


def _end(shown: list[Effect]) -> float:
    """The axis ends at the last interval that is not far off the bulk."""
    middle = sorted(effect.typical for effect in shown)[len(shown) // 2]
    noise = max((effect.noise for effect in shown if effect.noise is not None), default=0.0)
    limit = BEYOND * max(middle, noise, 1e-9)
    ends = [effect.high for effect in shown if effect.high <= limit]
    return 1.08 * max([*ends, min(limit, max(effect.high for effect in shown)), noise])


def _add(
    drawing: Drawing, study: StudyState, chosen: list[tuple[str, Effect]], label: str, end: float, *, sure: bool
) -> None:
    """What lies beyond the axis is a triangle at its end."""
    colour = BLUE if sure else SKY
    drawing.add(
        "scatter",
        x=[min(effect.typical, 0.985 * end) for _, effect in chosen],
        y=[name for name, _ in chosen],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [max(0.0, effect.high - effect.typical) if effect.typical < end else 0.0 for _, effect in chosen],
            "arrayminus": [max(0.0, min(effect.typical, 0.985 * end) - effect.low) for _, effect in chosen],
            "color": colour,
        },
        mode="markers",
        marker={"color": colour, "size": 10, "symbol": [_symbol(effect, end, sure=sure) for _, effect in chosen]},
        name=label,
        showlegend=bool(chosen),
        hovertext=[_text(study, effect) for _, effect in chosen],
        hoverinfo="text",
    )


def _symbol(effect: Effect, end: float, *, sure: bool) -> str:
    return f"{'triangle-right' if effect.typical > end else 'circle'}{'' if sure else '-open'}"


def _add_noise(drawing: Drawing, shown: list[Effect], names: list[str]) -> None:
    known = [(name, effect.noise) for name, effect in zip(names, shown, strict=True) if effect.noise is not None]
    drawing.add(
        "bar",
        x=[noise for _, noise in known],
        y=[name for name, _ in known],
        orientation="h",
        marker={"color": GREY, "opacity": 0.35},
        name="noise alone",
        showlegend=bool(known),
        hoverinfo="skip",
    )


def _text(study: StudyState, effect: Effect) -> str:
    size, best = study.objective.size, effect.best
    several = sum(not edit.alone for edit in effect.edits)
    lines = [
        f"<b>{html.escape(effect.constant, quote=False)}</b>: {len(effect.edits)} edits with a result",
        f"median change {size(effect.typical)}, {size(effect.low)} to {size(effect.high)}",
        html.escape(f"best: {best.before} to {best.after} in {best.program}, ", quote=False)
        + study.objective.gain(best.difference),
    ]
    if several:
        lines.append(f"{several} of them changed other constants too")
    return "<br>".join(lines)
