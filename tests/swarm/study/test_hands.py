"""Who has to end which trial, and how often a worker died of it."""

from factories.records import claim, finished, study_opened

from swarm.records import Record, WorkerStatus
from swarm.study.hands import deaths, in_hands_of
from swarm.study.state import StudyState, replay


def study(*records: Record) -> StudyState:
    whole = [study_opened(workers=2), *(record.model_copy(update={"study_id": "fake-study"}) for record in records)]
    found = replay(record.model_copy(update={"seq": seq, "id": str(seq)}) for seq, record in enumerate(whole, 1)).latest
    assert found is not None
    return found


def crash(agent_id: str) -> WorkerStatus:
    return WorkerStatus(agent_id=agent_id, status="crashed")


def test_the_first_worker_also_has_what_workers_left_that_are_gone() -> None:
    left = [claim(f"t000{number}", agent_id=f"worker_{number}") for number in (1, 2, 3)]
    names = [[t.trial_id for t in in_hands_of(study(*left), f"worker_{number}")] for number in (1, 2)]
    assert names == [["t0001", "t0003"], ["t0002"]]
    assert in_hands_of(study(*left, finished("t0002", 1.0)), "worker_2") == []


def test_deaths_count_from_the_claim_on_and_for_whoever_has_the_trial() -> None:
    mine, foreign = claim("t0001", agent_id="worker_2"), claim("t0002", agent_id="worker_7")
    seen = study(crash("worker_2"), mine, crash("worker_1"), crash("worker_2"), foreign, crash("worker_1"))
    assert (deaths(seen, seen.trials["t0001"]), deaths(seen, seen.trials["t0002"])) == (1, 1)


def test_a_number_that_somebody_claimed_ahead_is_left_out() -> None:
    assert study(claim("t0002"), claim("t0003")).next_trial_id == "t0004"
    assert study(claim("t0002")).next_trial_id == "t0003"
