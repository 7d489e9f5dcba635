"""`swarm log`: a study line by line, or one trial on one screen; with --json every record of every trial."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from swarm.cli.read import find_study, find_trial, open_brain, root_of
from swarm.cli.render import EventLines
from swarm.errors import RepoError
from swarm.records import Record, block
from swarm.study.lineage import commit_of
from swarm.study.settings import Layout
from swarm.study.state import StudyState, Trial
from swarm.trial.contract import TRIAL_PHASES, Phase
from swarm.verdict.standing import standing, standing_of_trial

SCHEMA_VERSION = 1
TAIL_LINES = 12
_NOISE = ("Warning: ", "warnings.warn(")


def print_log(brain: Path | None, study_id: str | None, name: str | None, *, as_json: bool) -> None:
    study = find_study(open_brain(brain), study_id)
    wanted = list(study.trials.values()) if name is None else [find_trial(study, name)]
    if as_json:
        trials = [_as_json(study, trial) for trial in wanted]
        print(json.dumps({"schema_version": SCHEMA_VERSION, "study_id": study.study_id, "trials": trials}))
        return
    lines = EventLines().fresh(study) if name is None else trial_lines(study, wanted[0], _folder_of(brain))
    for line in lines:
        print(line)


def trial_lines(study: StudyState, trial: Trial, root: Path | None) -> Iterator[str]:
    """What it was, what came of it and what it cost; then the end of its output, where it ran here."""
    program, claim, ending = study.program_of(trial.trial_id), trial.claim, trial.finished
    yield f"{trial.trial_id} {standing_of_trial(study, trial)}: {claim.description}"
    if program.name != trial.trial_id:
        yield f"  a run of {program.name}, which is {standing(study, program)}"
    asked = f"{claim.operator} in {claim.family} by {claim.agent_id} ({claim.proposer}), of {claim.parent or 'nothing'}"
    yield f"  proposed   {asked}; +{claim.lines_added} -{claim.lines_removed} lines"
    if claim.constants_changed:
        changes = (f"{name} {old!r} -> {new!r}" for name, (old, new) in claim.constants_changed.items())
        yield f"  constants  {', '.join(changes)}"
    if trial.started is not None:
        held = f", {trial.started.reservation_mib} MiB reserved on {trial.started.device_uuid}"
        yield f"  began      {_clock(trial.started.at)}{held}, seed {claim.seed}"
    if ending is not None:
        yield f"  ended      {_clock(ending.at)}, {ending.state}{f': {ending.reason}' if ending.reason else ''}"
        if ending.score is not None:
            result = study.objective.with_unit(study.objective.text(trial.cost))
            top1 = f", top-1 {ending.score.top1:.1%}" if ending.score.top1 is not None else ""
            others = "".join(f", {name} {number:g}" for name, number in ending.score.metrics.items())
            yield f"  result     {study.objective.name} {result}{top1}{others}"
        if (used := ending.resources) is not None:
            memory = f", {used.peak_mib} MiB at most" if used.peak_mib is not None else ""
            yield f"  cost       {used.wall_s or 0:.0f} s, {used.training_s or 0:.0f} s of them training{memory}"
        if ending.flags:
            yield f"  flags      {', '.join(ending.flags)}"
        yield from (f"  | {line}" for line in block(ending.detail).splitlines()[:TAIL_LINES])
    if program.verdict is not None:
        yield f"  verdict    {program.verdict.why}"
    yield f"  commit     {commit_of(study, program) or 'none'}"
    if root is None:
        return
    folder = Layout(root=root).trial(study.study_id, trial.trial_id)
    for phase in (*TRIAL_PHASES, Phase.MAKE, *folder.logged_runs(), Phase.GRADE):
        tail = folder.log_tail(phase, lines=40, limit=4000)
        said = [line for line in block(tail or "").splitlines() if not any(noise in line for noise in _NOISE)]
        if said:
            yield f"--- {phase} ---"
            yield from said[-TAIL_LINES:]


def _as_json(study: StudyState, trial: Trial) -> dict[str, object]:
    records: list[Record] = [part for part in (trial.claim, trial.started, trial.finished) if part is not None]
    program = study.program_of(trial.trial_id)
    records += [verdict for verdict in study.verdicts if verdict.trial_id == trial.trial_id]
    return {
        "trial_id": trial.trial_id,
        "program": program.name,
        "state": str(trial.state),
        "standing": str(standing_of_trial(study, trial)),
        "program_standing": str(standing(study, program)),
        "records": [record.model_dump(mode="json") for record in records],
    }


def _folder_of(brain: Path | None) -> Path | None:
    try:
        return root_of(brain)
    except RepoError:
        return None


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M:%S}"
