"""Who has to end which trial, and how often somebody died of it. Pure."""

from swarm.study.state import StudyState, Trial

FIRST = "worker_1"


def in_hands_of(study: StudyState, agent_id: str) -> list[Trial]:
    """The open trials that this worker has to end: its own, and for the first worker also those of workers that the
    present run does not have."""
    return [trial for trial in study.open_trials() if _has(study, agent_id, trial)]


def deaths(study: StudyState, trial: Trial) -> int:
    """How often the worker died that had this open trial in hand."""
    crashes = [crash for crash in study.crashes if crash.seq > trial.claim.seq]
    return sum(_has(study, crash.agent_id, trial) for crash in crashes)


def _has(study: StudyState, agent_id: str, trial: Trial) -> bool:
    present = {f"worker_{number + 1}" for number in range(study.opened.workers)}
    author = trial.claim.agent_id
    return author == agent_id or (agent_id == FIRST and author not in present)
