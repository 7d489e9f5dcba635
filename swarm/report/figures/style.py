"""What all figures share: the look of a standing, titles, hover texts, the empty state."""

import html
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from swarm.records.data import named
from swarm.study.caution import caution
from swarm.study.devices import device_of
from swarm.study.state import Program, StudyState, Trial
from swarm.target.objective import Objective
from swarm.verdict.standing import Standing, standing, standing_of_trial

# Okabe and Ito's palette: told apart with every common kind of colour blindness, and in print.
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, GREY, INK = "#CC79A7", "#56B4E9", "#9A9A9A", "#222222"
FAINT = "#E6E6E6"
BAND = "rgba(0,114,178,0.16)"

WORKER_SYMBOLS = ("circle", "diamond", "square", "cross", "pentagon", "hexagon", "star-square", "bowtie")


@dataclass(frozen=True, slots=True)
class Look:
    colour: str
    size: int
    symbol: str | None = None  # None: the worker's


LOOKS: dict[Standing, Look] = {
    Standing.DISCARDED: Look(GREY, 7),
    Standing.INCONCLUSIVE: Look(ORANGE, 9),
    Standing.UNJUDGED: Look(SKY, 8),
    Standing.RUNNING: Look(SKY, 8),
    Standing.BASELINE: Look(INK, 8),
    Standing.SUPERSEDED: Look(PURPLE, 10),
    Standing.LEADING: Look(BLUE, 12),
    Standing.KEPT: Look(GREEN, 14),
    Standing.PRUNED: Look(VERMILLION, 9, "x-open"),
    Standing.FAILED: Look(VERMILLION, 10, "x"),
}
"""In the order of drawing: what matters lies on top."""


def common_layout(study: StudyState, title: str, *, note: str = "", height: int = 460) -> dict[str, object]:
    """Title, subtitle with the study and what it ran on, and the common look."""
    return {
        "template": "plotly_white",
        "title": {
            "text": f"<b>{title}</b>",
            "subtitle": {"text": _subtitle(study, note)},
            "x": 0.01,
            "xanchor": "left",
        },
        "uirevision": study.study_id,
        "height": height,
        "margin": {"l": 70, "r": 20, "t": 90, "b": 60},
        "font": {"family": "Inter, Helvetica, Arial, sans-serif", "size": 13, "color": INK},
        "hoverlabel": {"align": "left", "bgcolor": "white", "font": {"color": INK}},
        "legend": {"itemsizing": "constant", "groupclick": "toggleitem", "traceorder": "grouped"},
    }


def empty_layout(title: str, missing: str, study: StudyState | None = None) -> dict[str, object]:
    """Of a figure that says what it waits for."""
    bare: dict[str, object] = {
        "template": "plotly_white",
        "title": {"text": f"<b>{title}</b>", "x": 0.01},
        "height": 320,
    }
    layout = bare if study is None else common_layout(study, title, height=320)
    said = {"text": missing, "showarrow": False, "font": {"size": 16, "color": "#666666"}}
    hidden = {"visible": False}
    return {**layout, "xaxis": hidden, "yaxis": hidden, "annotations": [{**said, "xref": "paper", "yref": "paper"}]}


def describe(study: StudyState, trial: Trial, evidence: dict[str, list[str]] | None = None) -> str:
    """The hover text of a trial. `evidence`: of programs that were described before; it is added to."""
    lines = [f"<b>{trial.trial_id}</b> {trial.claim.agent_id}, {trial.claim.operator.value}"]
    lines.append(_wrapped(trial.claim.description))
    if trial.cost is not None:
        lines.append(f"{study.objective.name} {study.objective.text(trial.cost)}")
    if trial.reason is not None:
        lines.append(f"failed: {trial.reason.value}")
    known = evidence if evidence is not None else {}
    if trial.claim.program not in known:
        known[trial.claim.program] = _evidence(study, study.program_of(trial.trial_id))
    return "<br>".join([*lines, *known[trial.claim.program]])


def marks(study: StudyState, trials: Sequence[Trial]) -> dict[str, Standing]:
    """The standing for the mark of each trial, by its id. Each program is asked for once."""
    words: dict[str, Standing] = {}
    found = {}
    for trial in trials:
        if trial.reason is not None:
            found[trial.trial_id] = standing_of_trial(study, trial)
            continue
        name = trial.claim.program
        if name not in words:
            words[name] = standing(study, study.programs[name])
        found[trial.trial_id] = words[name]
    return found


def describe_program(study: StudyState, program: Program) -> str:
    """The hover text of a program."""
    claim = program.first.claim
    lines = [f"<b>{program.name}</b> {claim.agent_id}, {claim.operator.value}", _wrapped(claim.description)]
    return "<br>".join([*lines, *_evidence(study, program)])


def data_label(study: StudyState) -> str:
    """What the numbers may be said about."""
    return warning_of(study) or ("the target's own data" if study.opened.data == "own" else named(study.opened.data))


def warning_of(study: StudyState) -> str | None:
    """What is to be shown in red beside every number; None where nothing is."""
    warning = caution(study.opened.data, study.opened.terms.grade)
    return None if warning is None else html.escape(warning)


def mean_value(study: StudyState, program: Program) -> float:
    """Of the objective, over its seeds. The program has a result."""
    assert program.mean is not None
    return study.objective.value(program.mean)


def peak_mib(program: Program) -> int | None:
    """Over its trials, the largest."""
    used = [t.finished.resources for t in program.trials if t.finished is not None and t.finished.resources is not None]
    return max((item.peak_mib for item in used if item.peak_mib is not None), default=None)


def wall_s(program: Program) -> float | None:
    """Over its trials, the mean."""
    used = [t.finished.resources for t in program.trials if t.finished is not None and t.finished.resources is not None]
    seconds = [item.wall_s for item in used if item.wall_s is not None]
    return sum(seconds) / len(seconds) if seconds else None


def focus(objective: Objective, values: Sequence[float]) -> tuple[float, float]:
    """A range that shows the bulk: what lies up to four times the middle half's width on the worse side of the median.

    It ends at the worst value in there, so that outliers make no room for themselves. Its first end is the lower one.
    """
    low, high = _bulk([objective.cost(value) for value in values])
    return (objective.value(high), objective.value(low)) if objective.maximized else (low, high)


def _bulk(costs: Sequence[float]) -> tuple[float, float]:
    ordered = sorted(costs)
    low, middle, high = ordered[0], ordered[len(ordered) // 2], ordered[(3 * len(ordered)) // 4]
    furthest = middle + 4 * max(high - low, 1e-3)
    top = max(cost for cost in ordered if cost <= furthest)
    pad = 0.08 * max(top - low, 1e-3)
    return low - pad, top + pad


def _evidence(study: StudyState, program: Program) -> list[str]:
    lines = []
    if program.mean is not None and len(program.costs) > 1:
        lines.append(f"mean {study.objective.text(program.mean)} over {len(program.costs)} seeds")
    if program.verdict is not None:
        lines.append(f"<i>{standing(study, program)}</i>: {_wrapped(program.verdict.why)}")
    return lines


@lru_cache(maxsize=16384)
def _wrapped(text: str) -> str:
    return "<br>".join(textwrap.wrap(html.escape(text, quote=False), 70))


def _subtitle(study: StudyState, note: str) -> str:
    opened = study.opened
    facts = f"{opened.target} on {html.escape(device_of(study))}, {html.escape(study.study_id)}"
    parts = [facts, note] if note else [facts]
    if (warning := warning_of(study)) is not None:
        parts.insert(0, f'<span style="color:{VERMILLION}"><b>{warning}</b></span>')
    return " · ".join(parts)
