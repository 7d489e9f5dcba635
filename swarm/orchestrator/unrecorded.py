"""One trial for the audit: run, waited for, and forgotten but for its outcome. No record of the study is written."""

from dataclasses import dataclass

from swarm.execution.executor import Outcome, Progress, TrialOrder
from swarm.execution.memory import evidence_of
from swarm.execution.prepared import with_prepared
from swarm.orchestrator.aside import Aside
from swarm.records import Budget, ProposalClaimed
from swarm.repo.secret import trial_files
from swarm.trial.config import Split

POLL_S = 0.1
AGENT = "audit"


@dataclass(frozen=True)
class Unrecorded:
    """What is to be run: the program at `commit`, which was claimed as `claim`. `name` is the trial's folder."""

    name: str
    commit: str
    claim: ProposalClaimed
    seed: int
    budget: Budget
    split: Split = "val"


def run_unrecorded(aside: Aside, asked: Unrecorded) -> Outcome:
    """Until it has ended. Ctrl-C stops it and is raised again. Nothing of it stays on disk."""
    return run_with_items(aside, asked)[0]


def run_with_items(aside: Aside, asked: Unrecorded) -> tuple[Outcome, list[float] | None]:
    """The same, and its number for each item of the data where the target's noise is that of items."""
    settings = aside.settings
    order = TrialOrder(
        study_id=settings.study_id,
        trial_id=asked.name,
        agent_id=AGENT,
        target=settings.target,
        files=with_prepared(trial_files(aside.repo, settings, asked.commit), settings),
        editable=settings.editable,
        terms=settings.terms,
        grading=settings.grading,
        seed=asked.seed,
        budget=asked.budget,
        device=settings.device,
        threads=settings.threads,
        sandbox=settings.sandbox,
        harness=settings.harness,
        harness_sha256=settings.harness_sha256,
        split=asked.split,
        memory=evidence_of(asked.claim, aside.study, settings),
    )
    running = aside.executor.submit(order)
    try:
        while isinstance(now := running.poll(), Progress):
            aside.clock.sleep(POLL_S)
        items = aside.executor.losses(asked.name) if settings.terms.noise != "seeds" else None
    except KeyboardInterrupt:
        running.stop("stopped by the user")
        while isinstance(running.poll(), Progress):
            aside.clock.sleep(POLL_S)
        raise
    finally:
        settings.layout.trial(settings.study_id, asked.name).remove()
    return now, items
