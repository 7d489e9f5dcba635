"""Single trials through the executor that studies use, for benchmarks that need nothing else of a study."""

import time

from swarm.execution.executor import Executor, MemoryEvidence, Outcome, Progress, TrialOrder
from swarm.repo import Repo
from swarm.study.settings import RunSettings

POLL_S = 0.1  # as the runner of a study


def order_of(
    settings: RunSettings, repo: Repo, trial_id: str, commit: str, seed: int = 1, rungs: tuple[float, ...] = ()
) -> TrialOrder:
    return TrialOrder(
        study_id=settings.study_id,
        trial_id=trial_id,
        agent_id="worker_1",
        target=settings.target,
        files=repo.files(commit, settings.target_folder),
        editable=settings.editable,
        seed=seed,
        budget=settings.budget,
        rungs=rungs,
        device=settings.device,
        threads=settings.threads,
        sandbox=settings.sandbox,
        harness_sha256=settings.harness_sha256,
        memory=MemoryEvidence(code_sha256=commit, profile_mib=settings.memory_mib),
    )


def outcome_of(executor: Executor, order: TrialOrder) -> Outcome:
    running = executor.submit(order)
    while isinstance(now := running.poll(), Progress):
        time.sleep(POLL_S)
    return now
