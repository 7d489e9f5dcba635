"""Every program as a line across its constants to its result."""

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from swarm.records import Scalar
from swarm.report.figures.constants import axis_type, is_number
from swarm.report.figures.drawing import Drawing
from swarm.report.figures.effects import constant_values, tried_constants
from swarm.report.figures.style import (
    FAINT,
    GREY,
    LOOKS,
    common_layout,
    describe_program,
    empty_layout,
    focus,
    mean_value,
)
from swarm.study.state import Program, StudyState
from swarm.verdict import study_noise
from swarm.verdict.interval import half_width
from swarm.verdict.standing import GAINS, Standing, standing

TITLE = "Constants in parallel"
MOST_AXES = 8
MOST_LINES = 120  # beside the prominent ones, the best of them: more cannot be followed
_PROMINENT = GAINS | {Standing.BASELINE}


@dataclass(frozen=True, slots=True)
class Scale:
    """One upright axis: the height in [0, 1] of each value, and what is written at which height."""

    name: str
    heights: Mapping[Scalar, float]
    ticks: tuple[tuple[float, str], ...]


def draw_parallel(study: StudyState | None) -> Drawing:
    """An axis a constant, those with the most values first, and the result at the right with the 95 % interval of what
    is kept, leads or led. A program without a known value of a constant passes that axis by."""
    if study is None:
        return Drawing(layout=empty_layout(TITLE, "No study yet. Start one with: swarm up"))
    programs = study.ranked()
    names = tried_constants(study, programs, MOST_AXES)
    if not names:
        return Drawing(layout=empty_layout(TITLE, "No constant has been tried at two values yet.", study))
    shown = shown_programs(study)
    values = constant_values(study)
    scales = [_scale(name, [value for p in shown if (value := values[p.name].get(name)) is not None]) for name in names]
    low, high = focus(study.objective, [mean_value(study, program) for program in programs])
    note = f"{len(shown)} of {len(programs)} programs" if len(shown) < len(programs) else f"{len(shown)} programs"
    drawing = Drawing(layout=common_layout(study, TITLE, note=f"{note}; at the right the result", height=480))
    _add_axes(drawing, study, scales, low, high)
    for word in LOOKS:
        chosen = [program for program in shown if standing(study, program) is word]
        _add_lines(drawing, study, chosen, word, scales, values, (low, high))
    _add_intervals(drawing, study, [p for p in shown if standing(study, p) in _PROMINENT], len(scales), (low, high))
    return drawing


def shown_programs(study: StudyState) -> list[Program]:
    """What is kept, leads, led or is the baseline, and the best of the others; best first."""
    programs = study.ranked()
    others = [program for program in programs if standing(study, program) not in _PROMINENT][:MOST_LINES]
    chosen = {program.name for program in others}
    return [p for p in programs if p.name in chosen or standing(study, p) in _PROMINENT]


def _scale(name: str, values: Sequence[Scalar]) -> Scale:
    """Logarithmic where the values span a decade; without order where they are no numbers."""
    numbers = sorted({float(value) for value in values if is_number(value)})
    distinct = list(dict.fromkeys(values))
    if len(numbers) == 0 or not all(is_number(value) for value in distinct):
        ordered = sorted(distinct, key=str)
        places = {value: (index + 0.5) / len(ordered) for index, value in enumerate(ordered)}
        return Scale(name, places, tuple((height, str(value)) for value, height in places.items()))
    low, high = numbers[0], numbers[-1]
    logarithmic = axis_type(numbers) == "log"

    def height(value: float) -> float:
        if high == low:
            return 0.5
        if logarithmic:
            return _log_share(value, low, high)
        return (value - low) / (high - low)

    heights = {value: height(float(value)) for value in distinct if is_number(value)}
    middle = (low * high) ** 0.5 if logarithmic else (low + high) / 2
    ticks = ((0.0, f"{low:.3g}"), (0.5, f"{middle:.3g}"), (1.0, f"{high:.3g}"))
    return Scale(name, heights, ticks if high > low else ((0.5, f"{low:.3g}"),))


def _log_share(value: float, low: float, high: float) -> float:
    return math.log(value / low) / math.log(high / low)


def _add_axes(drawing: Drawing, study: StudyState, scales: Sequence[Scale], low: float, high: float) -> None:
    count = len(scales)
    names = [html.escape(scale.name, quote=False) for scale in scales]
    drawing.layout["xaxis"] = {
        "tickvals": list(range(count + 1)), "ticktext": [*names, f"mean {study.objective.name}"],
        "range": [-0.3, count + 0.6], "showgrid": False, "zeroline": False,
    }  # fmt: skip
    drawing.layout["yaxis"] = {"visible": False, "range": [-0.06, 1.06]}
    upright = {"type": "line", "y0": 0, "y1": 1, "line": {"color": FAINT, "width": 2}, "layer": "below"}
    drawing.layout["shapes"] = [{**upright, "x0": place, "x1": place} for place in range(count + 1)]
    middle = (low + high) / 2
    ends = ((0.0, study.objective.size(low)), (0.5, study.objective.size(middle)), (1.0, study.objective.size(high)))
    marks = [(place, height, text) for place, scale in enumerate(scales) for height, text in scale.ticks]
    marks += [(count, height, text) for height, text in ends]
    drawing.add(
        "scatter",
        x=[place for place, _, _ in marks],
        y=[height for _, height, _ in marks],
        mode="text",
        text=[f"  {html.escape(text[:16], quote=False)}" for _, _, text in marks],
        textposition="middle right",
        showlegend=False,
        hoverinfo="skip",
    )


def _add_lines(
    drawing: Drawing,
    study: StudyState,
    programs: Sequence[Program],
    word: Standing,
    scales: Sequence[Scale],
    values: Mapping[str, Mapping[str, Scalar]],
    ends: tuple[float, float],
) -> None:
    """All lines of one standing are one trace, with gaps between them."""
    across: list[float | None] = []
    up: list[float | None] = []
    texts: list[str] = []
    for program in programs:
        own, text = values[program.name], describe_program(study, program)
        places = [(place, s.heights[own[s.name]]) for place, s in enumerate(scales) if s.name in own]
        places.append((len(scales), height_of(mean_value(study, program), *ends)))
        across += [*(float(place) for place, _ in places), None]
        up += [*(height for _, height in places), None]
        texts += [text] * (len(places) + 1)
    look = LOOKS[word]
    prominent = word in _PROMINENT
    drawing.add(
        "scatter",
        x=across,
        y=up,
        mode="lines+markers",
        line={"color": look.colour, "width": 3 if word is Standing.KEPT else 2 if prominent else 1},
        marker={"color": look.colour, "size": 7 if prominent else 4},
        opacity=0.95 if prominent else 0.4,
        name=word.value,
        showlegend=bool(programs),
        hovertext=texts,
        hoverinfo="text",
    )


def _add_intervals(
    drawing: Drawing, study: StudyState, programs: Sequence[Program], place: int, ends: tuple[float, float]
) -> None:
    noise = study_noise(study)
    reach = ends[1] - ends[0]
    known = [(p, half_width(noise, len(p.costs)) / reach) for p in programs] if noise is not None else []
    drawing.add(
        "scatter",
        x=[place] * len(known),
        y=[height_of(mean_value(study, program), *ends) for program, _ in known],
        error_y={"type": "data", "array": [half for _, half in known], "width": 6, "thickness": 2, "color": GREY},
        mode="markers",
        marker={"size": 2, "color": GREY},
        name="95 % interval of the mean",
        showlegend=bool(known),
        hoverinfo="skip",
    )


def height_of(value: float, low: float, high: float) -> float:
    """On the axis of the result; what is beyond its ends lies at them."""
    return min(1.0, max(0.0, (value - low) / (high - low)))
