"""What was reserved of a device's memory, what had been predicted, and what was used."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from swarm.records import FailReason
from swarm.report.figures.drawing import Drawing
from swarm.report.figures.points import scale_of
from swarm.report.figures.style import BLUE, GREY, ORANGE, VERMILLION, common_layout, describe, empty_layout
from swarm.study.state import StudyState, Trial

TITLE = "Memory reserved, predicted and measured"
_SHORT = frozenset({FailReason.OUT_OF_MEMORY, FailReason.INFEASIBLE})


@dataclass(frozen=True, slots=True)
class MemoryOf:
    """Of one trial, in MiB. `predicted` and `measured` are the peak without a context; None is not recorded.

    `evidence`: what the reservation rested on (same_code, parent, probe, default, ...).
    """

    trial: Trial
    reserved: int
    predicted: int | None
    measured: int | None
    evidence: str

    @property
    def ran_out(self) -> bool:
        return self.trial.reason in _SHORT


def draw_memory(study: StudyState | None) -> Drawing:
    """A step line of what each trial had reserved, marks for its predicted and its measured peak.

    A measured mark above the line is a trial that used more than it had reserved. The axis starts at zero and ends at
    the bulk of the reservations.
    """
    if study is None:
        return Drawing(layout=empty_layout(TITLE, "No study yet. Start one with: swarm up"))
    known = memory_of(study)
    if not known:
        return Drawing(layout=empty_layout(TITLE, "No finished trial has recorded its memory yet.", study))
    places = list(range(1, len(known) + 1))
    drawing = Drawing(layout=common_layout(study, TITLE, note=_note(known)))
    drawing.add(
        "scatter",
        x=[places[0] - 0.5, *(place + 0.5 for place in places)],
        y=[known[0].reserved, *(one.reserved for one in known)],
        mode="lines",
        line={"color": GREY, "width": 1.5, "shape": "vh"},
        name="reserved",
        hoverinfo="skip",
    )
    scale = scale_of(len(known))
    _add(drawing, study, [(p, o, o.predicted) for p, o in zip(places, known, strict=True)], "predicted", ORANGE, scale)
    fit = [(p, o, o.measured) for p, o in zip(places, known, strict=True) if _fits(o)]
    over = [(p, o, o.measured) for p, o in zip(places, known, strict=True) if not _fits(o)]
    _add(drawing, study, fit, "measured", BLUE, scale)
    _add(drawing, study, over, "measured above the reservation", VERMILLION, scale)
    out = [(p, o, o.reserved) for p, o in zip(places, known, strict=True) if o.ran_out]
    _add(drawing, study, out, "ran out of memory", VERMILLION, scale)
    drawing.layout["xaxis"] = {"title": {"text": "trial, in the order of their ends"}, "range": [0.3, len(known) + 0.7]}
    drawing.layout["yaxis"] = {"title": {"text": "memory (MiB)"}, "range": [0, _top(known)]}
    return drawing


def memory_of(study: StudyState) -> list[MemoryOf]:
    """Of the ended trials that had memory reserved, in the order of their ends."""
    found = []
    for trial in study.finished_trials():
        used = trial.finished.resources if trial.finished is not None else None
        granted = trial.started.reservation_mib if trial.started is not None else None
        reserved = used.reservation_mib if used is not None and used.reservation_mib is not None else granted
        if reserved is None:
            continue
        evidence = (used.reserved_by if used is not None else None) or "not recorded"
        predicted, measured = (used.predicted_mib, used.peak_mib) if used is not None else (None, None)
        found.append(MemoryOf(trial, reserved, predicted, measured, evidence))
    return found


def _fits(one: MemoryOf) -> bool:
    return one.measured is None or one.measured <= one.reserved


def _note(known: list[MemoryOf]) -> str:
    shares = [one.measured / one.reserved for one in known if one.measured is not None and one.reserved > 0]
    over = sum(not _fits(one) for one in known)
    used = f"{sum(shares) / len(shares):.0%} of a reservation used on average" if shares else "no peak recorded"
    return f"{used}; {over} trials used more than they had reserved"


def _top(known: list[MemoryOf]) -> float:
    """Of the axis: above the bulk, so that one enormous request does not flatten the rest."""
    sizes = sorted(max(one.reserved, one.measured or 0, one.predicted or 0) for one in known)
    middle = sizes[len(sizes) // 2]
    return 1.1 * max((size for size in sizes if size <= 4 * middle), default=middle) or 1.0


def _add(
    drawing: Drawing,
    study: StudyState,
    marks: Sequence[tuple[int, MemoryOf, int | None]],
    name: str,
    colour: str,
    scale: float,
) -> None:
    known = [(place, one, mib) for place, one, mib in marks if mib is not None]
    symbol = {"predicted": "line-ew-open", "ran out of memory": "x"}.get(name, "circle")
    drawing.add(
        "scatter",
        x=[place for place, _, _ in known],
        y=[mib for _, _, mib in known],
        mode="markers",
        marker={"color": colour, "size": math.ceil(8 * scale), "symbol": symbol, "line": {"width": 2}}
        if symbol == "line-ew-open"
        else {"color": colour, "size": 8 * scale, "symbol": symbol},
        name=name,
        showlegend=bool(known),
        hovertext=[_text(study, one) for _, one, _ in known],
        hoverinfo="text",
    )


def _text(study: StudyState, one: MemoryOf) -> str:
    predicted = "not recorded" if one.predicted is None else f"{one.predicted:,} MiB"
    measured = "not recorded" if one.measured is None else f"{one.measured:,} MiB"
    return (
        f"{describe(study, one.trial)}<br>reserved {one.reserved:,} MiB ({one.evidence.replace('_', ' ')}), predicted "
        f"{predicted}, measured {measured}"
    )
