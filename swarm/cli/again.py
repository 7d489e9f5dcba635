"""Commands that run trials beside a study: `verify --rerun` and `attribute`."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from swarm.clock import SystemClock
from swarm.orchestrator.aside import beside
from swarm.orchestrator.attributing import RUNS, Attributing
from swarm.orchestrator.interrupts import Interrupts
from swarm.orchestrator.rerun import audit_of, rerun
from swarm.report.attribution import attribution
from swarm.study.state import StudyState
from swarm.target.objective import Objective
from swarm.verdict.attribution import contributions, smallest
from swarm.verdict.rerun import Rerun


def print_rerun(trial: str, study: str | None, brain: Path | None, *, as_json: bool) -> int:
    """0 when the trial gave its result again."""
    trial_id = f"t{int(trial):04d}" if trial.isdigit() else trial
    with beside(brain, study, Path.cwd(), SystemClock()) as aside:
        result = rerun(aside, trial_id, _say)
        path, objective = audit_of(aside.settings.brain), aside.study.objective
    if as_json:
        print(result.model_dump_json())
    else:
        print(rerun_text(result, objective))
        print(f"Recorded in {path.name}, which no worker reads.")
    return 0 if result.reproduced else 1


def rerun_text(result: Rerun, objective: Objective) -> str:
    before, after = (objective.text(cost) for cost in (result.recorded, result.again))
    said = "reproduces" if result.reproduced else "does NOT reproduce"
    return f"{result.trial_id} {said}: recorded {before}, again {after} ({result.finding}: {result.why})"


def run_attribution(trial: str | None, study: str | None, brain: Path | None, *, as_json: bool) -> int:
    """0 when it came to its end, 130 when it was stopped at once."""
    trial_id = f"t{int(trial):04d}" if trial is not None and trial.isdigit() else trial
    interrupts = Interrupts(lambda _: None)
    with beside(brain, study, Path.cwd(), SystemClock(), writes=True) as aside, interrupts:
        subject = Attributing(aside, RUNS, _say, interrupts).run(trial_id).name
        now = aside.study
    if as_json:
        found = contributions(now, now.programs[subject])
        least = smallest(now, now.programs[subject]).name
        print(json.dumps({"program": subject, "smallest": least, "edits": [asdict(one) for one in found]}))
    else:
        print(attribution_text(now))
    return 130 if interrupts.at_once else 0


def attribution_text(study: StudyState) -> str:
    section = attribution(study)
    return "\n".join([section.note, *("  ".join(row) for row in (section.columns, *section.rows))])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
