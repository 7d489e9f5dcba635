"""Optuna: a study in optuna.log (its journal), for optuna-dashboard and Optuna's own plots and importances.

Optuna wants one kind of range for a constant in all trials of a study, for ever. What a constant declares is taken
first; a number that declares nothing has a linear range; what the storage already has of a constant stays. A value that
does not go with its range is a user attribute and no parameter.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as State

from swarm.program.constants import Choice, Int, Linear, Log, Space
from swarm.records import FailReason, Scalar, TrialState
from swarm.report.export.stores import Written
from swarm.report.export.trials import ExportedTrial
from swarm.study.state import StudyState
from swarm.verdict.standing import kept

TRIAL = "trial"


def write(study: StudyState, trials: Sequence[ExportedTrial], folder: Path) -> Written:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = folder / "optuna.log"
    exported = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(path))),
        study_name=study.study_id,
        direction=study.objective.direction,
        load_if_exists=True,
    )
    there = exported.get_trials(deepcopy=False)
    ranges: dict[str, BaseDistribution] = {}
    for one in there:
        ranges |= one.distributions
    known = {one.user_attrs.get(TRIAL) for one in there}
    new = [trial for trial in trials if trial.row.trial_id not in known]
    for trial in new:
        exported.add_trial(_frozen(trial, ranges))
    incumbent = study.incumbent
    now = {
        "objective": study.objective.label,
        "data": study.opened.data,
        "incumbent": incumbent.name if incumbent is not None else None,
        "kept": [program.name for program in kept(study)],
    }
    for name, value in now.items():
        if exported.user_attrs.get(name) != value:
            exported.set_user_attr(name, value)
    return Written(len(new), len(trials) - len(new), path, f"optuna-dashboard {path}")


def _frozen(trial: ExportedTrial, ranges: dict[str, BaseDistribution]) -> FrozenTrial:
    """`ranges` learns the constants that are new."""
    params: dict[str, Scalar] = {}
    distributions: dict[str, BaseDistribution] = {}
    apart: dict[str, Scalar] = {}
    for name, value in trial.constants.items():
        fitting = _fitting(value, ranges.get(name), trial.spaces.get(name))
        if fitting is None:
            apart[f"constant.{name}"] = value
            continue
        params[name], distributions[name] = value, fitting
        ranges[name] = fitting
    row, state = trial.row, _state(trial)
    began, ended = (datetime.fromtimestamp(at or row.finished_at or 0.0) for at in (row.started_at, row.finished_at))
    return FrozenTrial(
        number=-1, trial_id=-1, state=state, value=row.value if state is State.COMPLETE else None,
        datetime_start=min(began, ended), datetime_complete=ended, params=params, distributions=distributions,
        user_attrs={**trial.words, **apart, **_costs(trial)}, system_attrs={},
        intermediate_values=dict(trial.rungs),
    )  # fmt: skip


def _costs(trial: ExportedTrial) -> Mapping[str, float]:
    return {name: number for name, number in trial.numbers.items() if name != "value"}


def _state(trial: ExportedTrial) -> State:
    if trial.state is TrialState.COMPLETE:
        return State.COMPLETE
    return State.PRUNED if trial.reason == FailReason.PRUNED else State.FAIL


def _fitting(value: Scalar, there: BaseDistribution | None, space: Space | None) -> BaseDistribution | None:
    """A range of the kind that the constant has in this storage, wide enough for the value; None where it cannot be."""
    wanted = there if there is not None else _range(value, space)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match wanted:
        case FloatDistribution() if number and (not wanted.log or value > 0):  # type: ignore[operator]
            return FloatDistribution(min(wanted.low, float(value)), max(wanted.high, float(value)), log=wanted.log)
        case IntDistribution() if number and isinstance(value, int):
            return IntDistribution(min(wanted.low, value), max(wanted.high, value), log=wanted.log)
        case CategoricalDistribution() if any(value == one and type(value) is type(one) for one in wanted.choices):
            return wanted
    return None


def _range(value: Scalar, space: Space | None) -> BaseDistribution | None:
    match space:
        case Log():
            return FloatDistribution(space.low, space.high, log=True)
        case Linear():
            return FloatDistribution(space.low, space.high)
        case Int():
            return IntDistribution(space.low, space.high)
        case Choice():
            return CategoricalDistribution(space.values)
    if isinstance(value, bool):
        return CategoricalDistribution((False, True))
    return FloatDistribution(float(value), float(value)) if isinstance(value, int | float) else None
