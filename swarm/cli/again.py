"""Commands that run trials beside a study: `verify --rerun`, `attribute` and `certify`."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from swarm.clock import SystemClock
from swarm.orchestrator.aside import beside
from swarm.orchestrator.attributing import RUNS, Attributing
from swarm.orchestrator.audit import audit_of
from swarm.orchestrator.certifying import Asked, certify
from swarm.orchestrator.interrupts import Interrupts
from swarm.orchestrator.rerun import rerun
from swarm.report.attribution import attribution
from swarm.study.state import StudyState
from swarm.target.objective import Objective
from swarm.verdict.attribution import contributions, smallest
from swarm.verdict.certificate import Certificate, Gain
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


def run_certificate(
    study: str | None, brain: Path | None, *, seeds: int, top: int | None, again: bool, as_json: bool
) -> int:
    """0 when the certificate is whole, whatever it says; 1 when a program has no result on one of the splits."""
    with beside(brain, study, Path.cwd(), SystemClock()) as aside:
        result = certify(aside, Asked(seeds, top, again), _say)
        path, objective = audit_of(aside.settings.brain), aside.study.objective
    if as_json:
        print(result.model_dump_json())
    else:
        print(certificate_text(result, objective))
        print(f"Recorded in {path.name}, which no worker reads.")
    return 0 if all(one.lost is not None for one in result.programs) else 1


def certificate_text(result: Certificate, objective: Objective) -> str:
    def signed(amount: float | None) -> str:
        return "n/a" if amount is None else f"{'-' if amount < 0 else '+'}{objective.size(abs(amount))}"

    def told(gain: Gain | None) -> str:
        if gain is None:
            return "no result"
        between = f"{signed(gain.low)} to {signed(gain.high)}"
        return f"{signed(gain.gain)} ({between}, {gain.runs} runs against {gain.baseline_runs})"

    look = f"look {result.number} at the test split" if result.again else "the first look at the test split"
    text = [
        f"Certificate {result.number} of study {result.study_id}, {look}. Gains in {objective.label}, 95 % intervals:"
    ]
    for one in result.programs:
        lost = "no result"
        if one.lost is not None:
            lost = f"{signed(one.lost)} ({signed(one.lost_low)} to {signed(one.lost_high)})"
        text += [
            f"{one.program}  validation gain       {told(one.validation)}",
            f"{one.program}  test gain             {told(one.test)}",
            f"{one.program}  validation minus test {lost}",
        ]
    return "\n".join(text)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
