"""Runs a recorded trial again and says whether it gives the same. A line in the audit, and no research record."""

import os
from collections.abc import Callable
from pathlib import Path

from swarm import gate, verdict
from swarm.errors import UsageError
from swarm.execution.executor import Outcome, Progress, TrialOrder
from swarm.execution.memory import evidence_of
from swarm.failpoints import failpoint
from swarm.orchestrator.aside import Aside
from swarm.records import Budget
from swarm.study.lineage import commit_of
from swarm.study.state import Trial
from swarm.verdict.rerun import Rerun, finding

POLL_S = 0.1


def audit_of(brain: Path) -> Path:
    """Beside the brain: swarm_brain_audit.jsonl. No briefing and no verdict reads it."""
    return brain.with_name(f"{brain.stem}_audit.jsonl")


def rerun(aside: Aside, trial_id: str, say: Callable[[str], None]) -> Rerun:
    """The trial once more, compared with its record. Raises UsageError for a trial without a result."""
    study = aside.study
    trial = study.trials.get(trial_id)
    if trial is None or trial.cost is None:
        raise UsageError(f"--rerun {trial_id}: study {study.study_id} has no such trial with a result")
    commit = commit_of(study, study.program_of(trial_id), aside.repo.refs(study.study_id))
    if commit is None:
        raise UsageError(f"--rerun {trial_id}: its program is not in this repository")
    budget, noise = work_of(trial, aside.settings.budget), verdict.study_noise(study)
    source = aside.repo.read(commit, aside.settings.editable_path)
    again, (found, why) = None, ("another program", f"{commit[:12]} is not the program that was claimed")
    if gate.tree_sha256(source) == trial.claim.tree_sha256:
        say(f"{trial_id} again: seed {trial.claim.seed}, {budget.amount:g} {budget.kind}")
        outcome = _run(aside, trial, commit, budget)
        if outcome.score is None:
            found, why = "failed", f"{outcome.reason}: {outcome.detail[:200]}"
        else:
            again = study.objective.cost(outcome.score.validation_loss)
            found, why = finding(trial.cost, again, noise)
    result = Rerun(
        at=aside.clock.now(),
        study_id=study.study_id,
        trial_id=trial_id,
        seed=trial.claim.seed,
        work=f"{budget.amount:g} {budget.kind}",
        recorded=trial.cost,
        again=again,
        sigma=noise.sigma if noise is not None else None,
        degrees=noise.degrees if noise is not None else None,
        finding=found,
        why=why,
    )
    _append(audit_of(aside.settings.brain), result.model_dump_json())
    return result


def work_of(trial: Trial, budget: Budget) -> Budget:
    """What the trial did, counted in images: seconds would give it other work on another day."""
    used = trial.finished.resources if trial.finished is not None else None
    if budget.kind == "samples" or used is None or used.samples is None:
        return budget
    return Budget(kind="samples", amount=used.samples, walltime_limit_s=budget.walltime_limit_s)


def _run(aside: Aside, trial: Trial, commit: str, budget: Budget) -> Outcome:
    settings, name = aside.settings, f"{trial.trial_id}.rerun"
    order = TrialOrder(
        study_id=settings.study_id,
        trial_id=name,
        agent_id="audit",
        target=settings.target,
        files=aside.repo.files(commit, settings.target_folder),
        editable=settings.editable,
        seed=trial.claim.seed,
        budget=budget,
        device=settings.device,
        threads=settings.threads,
        sandbox=settings.sandbox,
        harness_sha256=settings.harness_sha256,
        memory=evidence_of(trial.claim, aside.study, settings),
    )
    folder = settings.layout.trial(settings.study_id, name)
    folder.remove()
    running = aside.executor.submit(order)
    try:
        while isinstance(now := running.poll(), Progress):
            aside.clock.sleep(POLL_S)
    except KeyboardInterrupt:
        running.stop("stopped by the user")
        while isinstance(running.poll(), Progress):
            aside.clock.sleep(POLL_S)
        raise
    finally:
        folder.remove()
    return now


def _append(path: Path, line: str) -> None:
    failpoint("audit.before_append")
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())
    failpoint("audit.after_append")
