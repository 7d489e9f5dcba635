"""Runs a recorded trial again and says whether it gives the same. A line in the audit, and no research record."""

from collections.abc import Callable

from swarm import gate, verdict
from swarm.errors import UsageError
from swarm.orchestrator import audit
from swarm.orchestrator.aside import Aside
from swarm.orchestrator.unrecorded import Unrecorded, run_unrecorded
from swarm.records import Budget
from swarm.repo.programs import Programs
from swarm.study.lineage import commit_of
from swarm.study.state import Trial
from swarm.verdict.rerun import Rerun, finding


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
    source = Programs.of(aside.repo, aside.settings).read(commit)
    again, (found, why) = None, ("another program", f"{commit[:12]} is not the program that was claimed")
    if gate.tree_sha256(source) == trial.claim.tree_sha256:
        say(f"{trial_id} again: seed {trial.claim.seed}, {budget.amount:g} {budget.kind}")
        asked = Unrecorded(f"{trial_id}.rerun", commit, trial.claim, trial.claim.seed, budget)
        outcome = run_unrecorded(aside, asked)
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
    audit.append(audit.audit_of(aside.settings.brain), result.model_dump_json())
    return result


def work_of(trial: Trial, budget: Budget) -> Budget:
    """What the trial did, counted in images: seconds would give it other work on another day."""
    used = trial.finished.resources if trial.finished is not None else None
    if budget.kind == "samples" or used is None or used.samples is None:
        return budget
    return Budget(kind="samples", amount=used.samples, walltime_limit_s=budget.walltime_limit_s)
