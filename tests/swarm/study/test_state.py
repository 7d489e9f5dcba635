"""What the brain's lines add up to."""

import pytest
from factories.studies import FakeStudy

from swarm.records import (
    Decision,
    FailReason,
    ProposalRejected,
    StudyClosed,
    TrialFinished,
    TrialState,
    Usage,
    VerdictReached,
    WorkerStatus,
)
from swarm.study.overlap import overlapping_pairs
from swarm.study.state import replay


def test_replay_gives_the_same_state_as_the_writer_had() -> None:
    fake = FakeStudy()
    fake.measure_noise()
    better = fake.try_change(effect=-0.2)
    study = replay(fake.records).latest
    assert study is not None
    assert study.programs["t0001"].costs == fake.study.programs["t0001"].costs
    assert study.incumbent is not None and study.incumbent.name == better
    assert study.lineage == fake.study.lineage


def test_a_repeated_record_counts_once() -> None:
    fake = FakeStudy()
    fake.measure_noise(2)
    once, twice = replay(fake.records).latest, replay([*fake.records, *fake.records]).latest
    assert once is not None and twice is not None
    assert list(once.trials) == list(twice.trials)
    assert len(twice.programs["t0001"].trials) == 2


def test_the_price_of_a_repeated_record_counts_once() -> None:
    fake = FakeStudy()
    refused = ProposalRejected(code="syntax", detail="no", proposer="openai:m", usage=Usage(model="m", usd=0.5))
    fake.write(refused)
    study = replay([*fake.records, *fake.records]).latest
    assert study is not None
    assert [rejection.usage for rejection in study.rejections] == [refused.usage]


def test_a_trial_has_one_ending() -> None:
    """A second ending under another id changes nothing: the first one was acted upon."""
    fake = FakeStudy()
    trial_id = fake.baseline()
    fake.finish(trial_id)
    loss = fake.study.trials[trial_id].cost
    late = TrialFinished(trial_id=trial_id, state=TrialState.FAILED, reason=FailReason.ABANDONED, seed=0)
    fake.write(late)
    assert fake.study.trials[trial_id].cost == loss


def test_states_of_a_trial() -> None:
    fake = FakeStudy()
    trial_id = fake.claim()
    trial = fake.study.trials[trial_id]
    assert trial.state is TrialState.WAITING
    fake.start(trial_id)
    assert trial.state is TrialState.RUNNING
    fake.finish(trial_id)
    assert trial.state is TrialState.COMPLETE
    assert trial.seconds is not None and trial.seconds[0] < trial.seconds[1]


def verdict(program: str, decision: Decision, *, leads: bool) -> VerdictReached:
    return VerdictReached(
        trial_id=program,
        program=program,
        parent="t0001",
        decision=decision,
        level="provisional" if leads else "none",
        leads=leads,
        probability=0.9 if leads else 0.1,
        delta=-0.01,
        sigma=0.01,
        replicates=1,
        parent_replicates=5,
    )


def test_a_rolled_back_leader_gives_the_lead_back() -> None:
    fake = FakeStudy()
    for _ in range(3):
        fake.claim()
    study = fake.study
    assert study.incumbent is study.baseline
    fake.write(verdict("t0002", Decision.INCONCLUSIVE, leads=True))
    fake.write(verdict("t0003", Decision.INCONCLUSIVE, leads=True))
    assert study.lineage == ("t0002", "t0003")
    fake.write(verdict("t0003", Decision.DISCARD, leads=False))
    assert study.incumbent is study.programs["t0002"]
    fake.write(verdict("t0002", Decision.DISCARD, leads=False))
    assert study.incumbent is study.baseline


def test_reopening_a_study_keeps_its_trials_and_forgets_its_end() -> None:
    fake = FakeStudy()
    fake.measure_noise(1)
    fake.write(StudyClosed(reason="drained by the user"))
    assert fake.study.closed is not None
    fake.write(fake.records[0])
    assert fake.study.closed is None
    assert len(fake.study.trials) == 1


def test_restarts_are_counted_a_worker() -> None:
    fake = FakeStudy()
    for _ in range(2):
        fake.write(WorkerStatus(agent_id="worker_2", status="restarted"))
    assert fake.study.restarts == {"worker_2": 2}


@pytest.mark.parametrize(("gap", "pairs"), [(0.0, 1), (1000.0, 0)])
def test_overlap_is_found_where_it_is(gap: float, pairs: int) -> None:
    fake = FakeStudy()
    first = fake.claim()
    fake.start(first)
    if gap:
        fake.finish(first)
        fake.now += gap
    second = fake.claim()
    fake.start(second)
    for trial_id in (first, second):
        if fake.study.trials[trial_id].finished is None:
            fake.finish(trial_id)
    assert len(list(overlapping_pairs(fake.study.trials.values()))) == pairs


def test_a_verdict_on_a_program_that_is_not_there_leads_nobody_and_breaks_no_later_verdict() -> None:
    fake = FakeStudy()
    fake.measure_noise()
    better = fake.try_change(effect=-0.2)
    known = next(verdict for verdict in fake.study.verdicts if verdict.leads)
    before = len(fake.study.verdicts)
    for name in ("t7777", "", "x"):
        fake.write(known.model_copy(update={"program": name, "id": f"of {name}", "seq": 0}))
    assert fake.study.incumbent is not None and fake.study.incumbent.name == better
    assert len(fake.study.verdicts) == before
    fake.try_change(effect=0.4)
    assert len(fake.study.verdicts) > before
