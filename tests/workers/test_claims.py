"""What a claim says when it is made: whose seed, on which state, and within which limits."""

from pathlib import Path

import pytest
from factories.briefings import PROGRAM, briefing
from factories.settings import run_settings
from factories.studies import FakeStudy

from swarm.errors import StaleSnapshot
from swarm.records import Operator, Proposal
from swarm.verdict import finals
from workers.claims import Draft, baseline_claim, finals_claim, proposal_claim, replicate_claim, trial_seed


@pytest.fixture
def fake() -> FakeStudy:
    fake = FakeStudy()
    fake.measure_noise()
    return fake


def test_a_replicate_runs_on_a_seed_that_no_trial_had(fake: FakeStudy, tmp_path: Path) -> None:
    settings = run_settings(tmp_path, seed=7)
    leader = fake.try_change(effect=-0.5)
    claim = replicate_claim(fake.brain, settings, "worker_1", leader)
    assert claim.seed == trial_seed(7, claim.trial_id)
    assert claim.seed not in {trial.claim.seed for trial in fake.study.trials.values()}
    assert (claim.program, claim.trial_id) == (leader, fake.study.next_trial_id)


def test_a_run_of_the_finals_has_a_seed_that_no_trial_had(fake: FakeStudy, tmp_path: Path) -> None:
    settings = run_settings(tmp_path, seed=7)
    leader = fake.try_change(effect=-0.5)
    opened = finals.begin(fake.study, 6)
    assert opened is not None
    fake.write(opened)
    for name in ("t0001", leader):
        run = finals.Run(name, 1)
        claim = finals_claim(fake.brain, settings, "worker_1", run)
        assert claim.seed == trial_seed(7, claim.trial_id)
        assert claim.seed not in {trial.claim.seed for trial in fake.study.trials.values()}
        assert (claim.program, claim.finals, claim.finals_round) == (name, 1, 1)
    with pytest.raises(StaleSnapshot, match="owes no run"):
        finals_claim(fake.brain, settings, "worker_1", finals.Run(leader, 2))


def test_the_search_takes_nothing_of_what_is_held_for_the_finals(fake: FakeStudy, tmp_path: Path) -> None:
    leader = fake.try_change(effect=-0.5)
    while len(fake.study.trials) < 24:
        fake.try_change(effect=1.0, parent="t0001")
    fake.limit(30)
    held, free = (run_settings(tmp_path, finals=word) for word in ("auto", "off"))
    with pytest.raises(StaleSnapshot, match="the study has 24 of 30"):
        replicate_claim(fake.brain, held, "worker_1", leader)
    assert replicate_claim(fake.brain, free, "worker_1", leader).program == leader


def test_each_trial_has_a_seed_of_its_own_and_a_repeated_study_the_same_ones() -> None:
    names = [f"t{number:04d}" for number in range(1, 201)]
    seeds = [trial_seed(3, name) for name in names]
    assert len(set(seeds)) == len(seeds)
    assert seeds == [trial_seed(3, name) for name in names]
    assert set(seeds).isdisjoint(trial_seed(4, name) for name in names)


def test_a_proposal_that_follows_an_older_incumbent_is_stale(fake: FakeStudy, tmp_path: Path) -> None:
    leader = fake.try_change(effect=-0.5)
    assert fake.study.incumbent is not None and fake.study.incumbent.name == leader
    proposal = Proposal(
        operator=Operator.TUNE, family="schedule", description="d", parent="t0001", source=PROGRAM, proposer="tpe"
    )
    draft = Draft(proposal, briefing(), "tpe", follows="t0001")
    with pytest.raises(StaleSnapshot, match=f"the incumbent is {leader} now and was t0001"):
        proposal_claim(fake.brain, run_settings(tmp_path), "worker_1", draft, PROGRAM)


def test_a_program_is_not_run_again_more_often_than_it_is_owed(fake: FakeStudy, tmp_path: Path) -> None:
    name = fake.try_change(effect=-0.5)
    for _ in range(2):
        fake.write(replicate_claim(fake.brain, run_settings(tmp_path), "worker_1", name))
    with pytest.raises(StaleSnapshot, match="no run of t0006 is owed"):
        replicate_claim(fake.brain, run_settings(tmp_path), "worker_1", name)


def test_a_study_has_no_more_trials_than_were_asked_for(fake: FakeStudy, tmp_path: Path) -> None:
    fake.limit(5)
    with pytest.raises(StaleSnapshot, match="the study has 5 of 5"):
        replicate_claim(fake.brain, run_settings(tmp_path), "worker_1", "t0001")


def test_more_trials_count_from_the_next_claim_on(fake: FakeStudy, tmp_path: Path) -> None:
    """The worker was started with settings that say 5; the brain says what holds now."""
    settings, name = run_settings(tmp_path, trials=5), fake.try_change(effect=-0.5)
    fake.limit(6)
    with pytest.raises(StaleSnapshot, match="the study has 6 of 6"):
        replicate_claim(fake.brain, settings, "worker_1", name)
    fake.limit(7)
    assert replicate_claim(fake.brain, settings, "worker_1", name).program == name


def test_a_noise_floor_that_is_complete_is_not_measured_again(fake: FakeStudy, tmp_path: Path) -> None:
    with pytest.raises(StaleSnapshot, match="has all its trials"):
        baseline_claim(fake.brain, run_settings(tmp_path), "worker_1", PROGRAM)
