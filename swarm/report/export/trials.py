"""Finished trials with the constants of their programs: what every store is given. Pure.

`constants` come from the program's text where somebody could read it, with their declared spaces; else from the
records, which know only those that some trial has changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from swarm.errors import TargetError
from swarm.program.constants import Space, parse
from swarm.records import Scalar, TrialState
from swarm.report.export.rows import TrialRow, row_of
from swarm.study.lineage import ancestors
from swarm.study.state import Program, StudyState

STEPS = 1000
"""Of a budget: other tools count steps, a trial counts its progress from 0 to 1."""


@dataclass(frozen=True, slots=True)
class ExportedTrial:
    """`curve` and `rungs`: (step, loss) with steps from 0 to STEPS; `spaces` of those constants that declare one."""

    row: TrialRow
    state: TrialState
    reason: str | None
    constants: Mapping[str, Scalar]
    spaces: Mapping[str, Space]
    curve: tuple[tuple[int, float], ...]
    rungs: tuple[tuple[int, float], ...]
    audit: bool
    metrics: Mapping[str, float]
    """All numbers of a target's own grader."""

    @property
    def name(self) -> str:
        """Unlike in any other study: resnext-20261121-102712-304f/t0007."""
        return f"{self.row.study_id}/{self.row.trial_id}"

    @property
    def numbers(self) -> dict[str, float]:
        """Results and costs that are known, by name; `value` is the objective's."""
        row = self.row
        known = {"value": row.value, "top1": row.top1, "top5": row.top5, "peak_mib": row.peak_mib}
        known |= {"wall_s": row.wall_s, "training_s": row.training_s, "waited_s": row.waited_s}
        return dict(self.metrics) | {name: float(number) for name, number in known.items() if number is not None}

    @property
    def words(self) -> dict[str, str]:
        """What is known of it from its end on, and does not change with the standings of others."""
        row = self.row
        known = {
            **{"trial": row.trial_id, "study": row.study_id, "data": row.data, "program": row.program},
            **{"parent": row.parent, "commit": row.commit, "agent": row.agent_id, "proposer": row.proposer},
            **{"operator": row.operator.value, "family": row.family, "reason": self.reason, "seed": str(row.seed)},
            "description": row.description,
        }
        return {name: text for name, text in known.items() if text}


def exported_trials(study: StudyState, texts: Mapping[str, str]) -> list[ExportedTrial]:
    """In the order in which they ended. `texts`: sources by program, as far as they could be read."""
    declared = {program.name: _declared(study, program, texts.get(program.name)) for program in study.programs.values()}
    exported = []
    for trial in study.finished_trials():
        ending = trial.finished
        assert ending is not None
        constants, spaces = declared[trial.claim.program]
        exported.append(
            ExportedTrial(
                row=row_of(study, trial),
                state=trial.state,
                reason=str(trial.reason) if trial.reason is not None else None,
                constants=constants,
                spaces=spaces,
                curve=_steps(ending.curve),
                rungs=_steps(ending.rungs),
                audit=ending.audit,
                metrics=ending.score.metrics if ending.score is not None else {},
            )
        )
    return exported


def recorded_constants(study: StudyState, program: Program) -> dict[str, Scalar]:
    """Those that some trial has changed, with the program's own change, its nearest ancestor's, or as they were before
    any change. One that a change took away is left out."""
    known: dict[str, Scalar | None] = {}
    for other in reversed(study.programs.values()):
        known |= {name: old for name, (old, _) in other.first.claim.constants_changed.items()}
    for holder in [*reversed(ancestors(study, program)), program]:
        known |= {name: new for name, (_, new) in holder.first.claim.constants_changed.items()}
    return {name: value for name, value in sorted(known.items()) if value is not None}


def _declared(study: StudyState, program: Program, text: str | None) -> tuple[dict[str, Scalar], dict[str, Space]]:
    if text is not None:
        try:
            found = parse(text)
        except TargetError:  # it never ran: a merge that left no Python
            found = {}
        if found:
            spaces = {name: constant.space for name, constant in found.items() if constant.space is not None}
            return {name: constant.value for name, constant in found.items()}, spaces
    return recorded_constants(study, program), {}


def _steps(points: tuple[tuple[float, float], ...]) -> tuple[tuple[int, float], ...]:
    """Of two points in one step the later one stays."""
    return tuple(sorted({round(STEPS * progress): loss for progress, loss in points}.items()))
