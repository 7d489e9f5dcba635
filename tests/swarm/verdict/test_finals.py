"""The finals: who is in, what runs next, what they keep. Error rates are in test_verdict_simulation."""

import random
from statistics import fmean

import pytest
from factories.studies import FakeStudy

from swarm.records import Decision, FailReason, FinalsClosed, FinalsOpened, FinalsRound, Operator, VerdictReached
from swarm.verdict import finals, plan, slots
from swarm.verdict.evidence import NoiseFloor, welch
from swarm.verdict.standing import Standing, kept
from swarm.verdict.standing import standing as standing_of

BASELINE = (2.200, 2.212, 2.188, 2.206, 2.194)


@pytest.fixture
def fake() -> FakeStudy:
    fake = FakeStudy()
    for loss in BASELINE:
        fake.finish(fake.baseline(), loss)
    return fake


def word(fake: FakeStudy, program: str) -> Standing:
    return standing_of(fake.study, fake.study.programs[program])


def begun(fake: FakeStudy, count: int) -> FinalsOpened:
    opened = finals.begin(fake.study, count)
    assert opened is not None
    fake.write(opened)
    return opened


class TestPlan:
    def test_the_search_never_has_less_than_four_fifths(self) -> None:
        for count in range(1, 1000):
            assert plan.held(count) <= count / 5
            assert plan.after(count) <= (count + plan.after(count)) / 5

    @pytest.mark.parametrize("contenders", [1, 2, 3, 20])
    def test_the_rounds_fit_their_slots_and_end_with_one(self, contenders: int) -> None:
        for count in range(6, 60):
            rounds = plan.rounds(count, contenders)
            assert count - 2 < plan.runs(rounds) <= count
            assert rounds[-1].programs == 1 and rounds[0].programs <= contenders
            assert sum(one.runs for one in rounds) >= 3

    def test_a_night_of_a_hundred_slots(self) -> None:
        assert plan.held(100) == 20
        assert plan.rounds(20, 9) == (FinalsRound(programs=3, runs=1), FinalsRound(programs=1, runs=8))

    def test_too_few_slots_are_not_held(self) -> None:
        """Twelve slots, as `make up` has: two would decide nothing."""
        assert plan.held(12) == 0 and plan.rounds(5, 3) == () and plan.rounds(20, 0) == ()

    def test_further_finals_have_half_the_level_each(self) -> None:
        assert plan.level(4, 1) == pytest.approx(0.05 / 4)
        assert 4 * sum(plan.level(4, number) for number in range(1, 50)) <= 0.1

    def test_how_many_runs_a_gain_needs(self) -> None:
        assert plan.runs_to_decide(-2.0, 1.0, 0.05) == 4  # 2 (1.645 + 0.842)^2 / 4 = 3.1
        assert plan.runs_to_decide(0.1, 1.0, 0.05) is None


class TestSlots:
    def test_a_fifth_is_held_while_there_is_something_to_decide(self, fake: FakeStudy) -> None:
        fake.limit(40)
        fake.try_change(loss=2.1)
        while slots.may_search(fake.study):
            fake.try_change(loss=2.4, parent="t0001")
        assert len(fake.study.trials) == 32

    def test_what_is_held_goes_back_to_the_search_where_nobody_contends(self, fake: FakeStudy) -> None:
        fake.limit(40)
        while slots.may_search(fake.study):
            fake.try_change(loss=2.4, parent="t0001")
        assert len(fake.study.trials) == 40

    def test_what_is_too_little_for_finals_goes_to_the_search(self, fake: FakeStudy) -> None:
        """As after a resumed study was given a few trials more."""
        fake.limit(40)
        fake.try_change(loss=2.1)
        while len(fake.study.trials) < 34:
            fake.try_change(loss=2.4, parent="t0001")
        assert not slots.may_search(fake.study)
        fake.try_change(loss=2.4, parent="t0001")
        while slots.may_search(fake.study):
            fake.try_change(loss=2.4, parent="t0001")
        assert len(fake.study.trials) == 40

    def test_no_limit_holds_nothing_and_open_finals_end_the_search(self, fake: FakeStudy) -> None:
        fake.try_change(loss=2.1)
        assert slots.may_search(fake.study)
        opened = finals.begin(fake.study, 8)
        assert opened is not None
        fake.write(opened)
        assert not slots.may_search(fake.study)

    def test_more_trials_after_the_finals_hold_a_fifth_of_those(self, fake: FakeStudy) -> None:
        fake.limit(40)
        fake.try_change(loss=2.1)
        while slots.may_search(fake.study):
            fake.try_change(loss=2.4, parent="t0001")
        fake.hold_finals(slots=8)
        assert len(fake.study.trials) == 40
        fake.try_change(loss=2.09, parent="t0001")
        fake.limit(80)
        while slots.may_search(fake.study):
            fake.try_change(loss=2.4, parent="t0001")
        assert len(fake.study.trials) == 80 - 8


class TestWhoIsIn:
    def test_the_most_promising_that_were_not_refuted(self, fake: FakeStudy) -> None:
        names = [fake.try_change(loss=loss, parent="t0001") for loss in (2.19, 2.15, 2.3, 2.17, 2.18)]
        opened = finals.begin(fake.study, 20)
        assert opened is not None
        assert opened.finalists == (names[1], names[3], names[4])
        assert opened.level == pytest.approx(0.05 / 3)

    def test_nothing_begins_without_a_noise_floor_or_a_contender(self, fake: FakeStudy) -> None:
        assert finals.begin(fake.study, 20) is None
        bare = FakeStudy()
        bare.finish(bare.baseline(), 2.2)
        bare.try_change(loss=2.1)
        assert finals.begin(bare.study, 20) is None


class TestRuns:
    def test_each_round_runs_all_and_the_baseline_equally_often_and_interleaved(self, fake: FakeStudy) -> None:
        names = [fake.try_change(loss=loss, parent="t0001") for loss in (2.15, 2.16, 2.17)]
        opened = begun(fake, 20)
        order = []
        while owed := finals.where(fake.study, opened).owed:
            order.append(owed[0].program)
            fake.finals_run(owed[0], {"t0001": 2.2, names[0]: 2.2, names[1]: 2.1, names[2]: 2.19})
        assert order[:4] == ["t0001", *names]
        assert order[4:] == ["t0001", names[1], names[1], "t0001"] * 4
        seeds = [trial.claim.seed for trial in fake.study.trials.values()]
        assert len(set(seeds)) == len(seeds)

    def test_a_round_waits_for_the_one_before(self, fake: FakeStudy) -> None:
        for loss in (2.15, 2.16, 2.17):
            fake.try_change(loss=loss, parent="t0001")
        opened = begun(fake, 20)
        claimed = [
            fake.claim(program=run.program, operator=Operator.REPLICATE, finals=1, finals_round=run.round)
            for run in finals.where(fake.study, opened).owed
        ]
        now = finals.where(fake.study, opened)
        assert (now.round, now.owed, now.waiting) == (1, (), 4)
        for trial_id in claimed:
            fake.finish(trial_id)
        assert finals.where(fake.study, opened).round == 2

    def test_who_goes_on_does_not_change_with_later_runs(self, fake: FakeStudy) -> None:
        first, *_ = (fake.try_change(loss=loss, parent="t0001") for loss in (2.15, 2.16, 2.17))
        opened = begun(fake, 20)
        losses = {"t0001": 2.2, first: 2.1}
        for _ in range(4):
            fake.finals_run(finals.where(fake.study, opened).owed[0], losses)
        while owed := finals.where(fake.study, opened).owed:
            assert owed[0].program in ("t0001", first)
            fake.finals_run(owed[0], {"t0001": 2.2, first: 2.9})

    def test_a_failed_run_is_run_again_once_and_then_its_program_is_out(self, fake: FakeStudy) -> None:
        first, second = (fake.try_change(loss=loss, parent="t0001") for loss in (2.15, 2.16))
        opened = begun(fake, 12)
        failures = 0
        while owed := finals.where(fake.study, opened).owed:
            run = owed[0]
            if run.program == first:
                failures += 1
                trial = fake.claim(program=first, operator=Operator.REPLICATE, finals=1, finals_round=run.round)
                fake.fail(trial, FailReason.CRASHED)
            else:
                fake.finals_run(run, {"t0001": 2.2, second: 2.1})
        assert failures == 2
        assert len([t for t in fake.study.trials.values() if t.claim.finals]) <= 12
        end = finals.close(fake.study, opened)[-1]
        assert isinstance(end, FinalsClosed) and end.winner == second


class TestVerdict:
    def test_a_real_gain_is_kept_with_its_interval_from_these_runs_alone(self, fake: FakeStudy) -> None:
        good = fake.try_change(loss=1.0)  # its luck in the search counts for nothing
        draw = random.Random(3)
        opened = begun(fake, 12)
        while owed := finals.where(fake.study, opened).owed:
            mean = 2.2 if owed[0].program == "t0001" else 2.1
            fake.finals_run(owed[0], {owed[0].program: draw.gauss(mean, 0.01)})
        for record in finals.close(fake.study, opened):
            fake.write(record)
        said = fake.study.programs[good].verdict
        assert said is not None and (said.decision, said.level, said.leads) == (Decision.KEEP, "confirmed", True)
        mine, theirs = (finals.finals_costs(fake.study.programs[name], 1) for name in (good, "t0001"))
        assert said.delta == pytest.approx(fmean(mine) - fmean(theirs))
        assert said.delta_low is not None and said.delta_high is not None
        assert said.delta_low < said.delta < said.delta_high < 0
        assert (word(fake, good), kept(fake.study)) == (Standing.KEPT, [fake.study.programs[good]])
        assert fake.study.incumbent is fake.study.programs[good]

    def test_luck_in_the_search_is_not_kept_and_no_longer_leads(self, fake: FakeStudy) -> None:
        lucky = fake.try_change(loss=1.0)
        closed = fake.hold_finals(slots=12, losses={"t0001": 2.20, lucky: 2.21})
        assert not closed.kept and word(fake, lucky) is Standing.DISCARDED
        assert fake.study.incumbent is fake.study.baseline

    def test_promising_and_not_proven_says_what_more_it_needs(self, fake: FakeStudy) -> None:
        near = fake.try_change(loss=2.18)
        fake.try_change(loss=2.19, parent="t0001")
        closed = fake.hold_finals(slots=6, losses={"t0001": 2.2, near: 2.193})
        said = fake.study.programs[near].verdict
        assert said is not None and (said.decision, said.leads) == (Decision.INCONCLUSIVE, True)
        assert not closed.kept and "needs about" in closed.why and word(fake, near) is Standing.LEADING

    def test_the_level_is_divided_among_the_finalists(self, fake: FakeStudy) -> None:
        """A difference that one finalist alone would prove, and one of five does not."""
        names = [fake.try_change(loss=loss, parent="t0001") for loss in (2.18, 2.181, 2.182, 2.183, 2.184)]
        losses = {"t0001": 2.2, names[0]: 2.1984, **dict.fromkeys(names[1:], 2.25)}
        closed = fake.hold_finals(slots=30, losses=losses)
        said = fake.study.programs[names[0]].verdict
        assert said is not None and said.p_value is not None and said.level_needed == pytest.approx(0.05 / 5)
        assert 0.01 < said.p_value < 0.05 and not closed.kept

    def test_the_record_has_what_its_verdict_was_reached_from(self, fake: FakeStudy) -> None:
        good = fake.try_change(loss=2.1)
        fake.hold_finals(slots=12, losses={"t0001": 2.2, good: 2.1})
        said = fake.study.programs[good].verdict
        assert said is not None and said.own_sigma and said.parent_sigma and said.degrees and said.p_value is not None
        mine, theirs = [said.delta] * said.replicates, [0.0] * said.parent_replicates
        own, reference = said.own_sigma, said.parent_sigma
        degrees = {size: 6 + count - 1 for size, count in ((own, said.replicates), (reference, said.parent_replicates))}
        test = welch(mine, theirs, (NoiseFloor(own, degrees[own]), NoiseFloor(reference, degrees[reference])))
        assert (test.p_value, test.degrees) == (pytest.approx(said.p_value), said.degrees)

    def test_the_shorter_of_two_equals_goes_on(self, fake: FakeStudy) -> None:
        long = fake.try_change(loss=2.150, parent="t0001", source_lines=230)
        short = fake.try_change(loss=2.151, parent="t0001", source_lines=180)
        closed = fake.hold_finals(slots=12, losses={"t0001": 2.2, long: 2.150, short: 2.151})
        assert closed.winner == short and closed.kept

    def test_what_is_kept_stays_kept_after_more_of_the_search(self, fake: FakeStudy) -> None:
        good = fake.try_change(loss=2.1)
        fake.hold_finals(slots=12, losses={"t0001": 2.2, good: 2.1})
        fake.replicate(good, 2.5)
        assert word(fake, good) is Standing.KEPT
        child = fake.try_change(loss=2.0, parent=good)
        assert (word(fake, good), word(fake, child)) == (Standing.KEPT, Standing.LEADING)

    def test_a_machine_that_changed_is_flagged(self, fake: FakeStudy) -> None:
        good = fake.try_change(loss=2.1)
        assert not fake.hold_finals(slots=12, losses={"t0001": 2.205, good: 2.1}).drifted
        other = FakeStudy()
        for loss in BASELINE:
            other.finish(other.baseline(), loss)
        better = other.try_change(loss=2.1)
        closed = other.hold_finals(slots=12, losses={"t0001": 2.1, better: 2.0})
        assert closed.drifted and closed.baseline_early == pytest.approx(2.2)
        assert closed.baseline_late == pytest.approx(2.1)

    def test_verdicts_of_the_search_come_from_the_search_alone(self, fake: FakeStudy) -> None:
        good = fake.try_change(loss=2.1)
        opened = begun(fake, 12)
        before = [verdict for verdict in fake.study.verdicts if isinstance(verdict, VerdictReached)]
        fake.finals_run(finals.where(fake.study, opened).owed[1], {good: 9.9})
        assert fake.study.verdicts == before and fake.study.programs[good].costs == [2.1]
