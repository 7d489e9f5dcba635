import math
from collections.abc import Sequence

import pytest
from factories.records import study_opened
from factories.studies import FakeStudy

from swarm.records import FailReason, ObjectiveTerms, Operator
from swarm.study.state import StudyState
from swarm.target.objective import Objective
from swarm.verdict.early_stop import (
    AUDIT_ONE_IN,
    BEHIND,
    MOST_FALSE,
    RUNGS,
    FalsePrunes,
    curve,
    false_prunes,
    generous_end,
    is_audited,
    look,
    outlook,
    pooled,
    upper_bound,
)

HALF, LATE = RUNGS
FALL = 0.4  # from the first rung to the end, of every program here
REACH = 2.2 + FALL * (1 + BEHIND)  # the rung loss from which a child of the baseline could just reach it


def rungs_of(final: float) -> tuple[tuple[float, float], ...]:
    return ((HALF, final + FALL), (LATE, final + FALL / 2))


@pytest.fixture
def fake() -> FakeStudy:
    """Five runs of the baseline, all at 2.2."""
    fake = FakeStudy(seed=5)
    for _ in range(5):
        fake.finish(fake.baseline(), 2.2, rungs=rungs_of(2.2))
    return fake


def earlier(audits: int, wrong: int = 0, **opened: object) -> StudyState:
    """Another study, of the same objective if nothing else is said, with so many audits, some of which led."""
    other = FakeStudy(seed=7)
    state = other.study
    state.opened = study_opened(**{"study_id": "earlier", **opened})  # type: ignore[arg-type]
    for _ in range(5):
        other.finish(other.baseline(), 2.2)
    for place in range(audits):
        other.finish(other.claim(parent="t0001"), 2.1 if place < wrong else 3.0, audit=True, conclude_now=False)
    return state


def shown_harmless(study: StudyState) -> Sequence[StudyState]:
    return [earlier(60, objective_sha256=study.opened.objective_sha256)]


def claimed(fake: FakeStudy, *, audited: bool = False, **options: object) -> str:
    """A trial inside or outside the audit."""
    while is_audited(fake.study.study_id, fake.study.next_trial_id) is not audited:
        fake.fail(fake.claim(parent="t0001"))
    return fake.claim(**{"parent": "t0001", **options})  # type: ignore[arg-type]


class TestHopeless:
    def test_what_a_generous_end_cannot_reach_is_ended(self, fake: FakeStudy) -> None:
        trial, known = claimed(fake), shown_harmless(fake.study)
        ended = look(fake.study, trial, HALF, REACH + 0.01, known)
        assert ended.action == "stop" and ended.best_end == pytest.approx(2.21)
        assert "where t0001 had 2.6000 on its way to 2.2000" in ended.why
        assert look(fake.study, trial, HALF, REACH - 0.01, known).action == "go_on"

    def test_being_behind_is_not_hopeless(self, fake: FakeStudy) -> None:
        """As far behind its parent as the parent had still to go."""
        assert outlook(fake.study, claimed(fake), HALF, 2.6 + FALL).action == "go_on"

    def test_the_later_rung_allows_less(self, fake: FakeStudy) -> None:
        trial = claimed(fake)
        assert outlook(fake.study, trial, HALF, 3.0).action == "go_on"
        assert outlook(fake.study, trial, LATE, 3.0).action == "stop"

    def test_nothing_is_looked_at_before_half_of_the_budget(self) -> None:
        assert min(RUNGS) >= 0.5

    def test_the_parent_counts_and_not_the_leader(self, fake: FakeStudy) -> None:
        """A child of the baseline that is far from the leader's rungs and near its parent's."""
        leader = fake.claim(parent="t0001", effect=-1.0)
        fake.finish(leader, 1.2, rungs=((HALF, 1.3), (LATE, 1.25)))
        assert fake.study.incumbent is fake.study.programs[leader]
        assert outlook(fake.study, fake.claim(parent="t0001"), HALF, 2.6).action == "go_on"
        assert outlook(fake.study, fake.claim(parent=leader), HALF, 2.6).action == "stop"

    def test_a_family_that_the_proposer_names_changes_nothing(self, fake: FakeStudy) -> None:
        losses = (REACH - 0.01, REACH + 0.01)
        for family in ("schedule", "averaging", "optimiser", "anything"):
            trial = fake.claim(parent="t0001", family=family)
            assert [outlook(fake.study, trial, HALF, loss).action for loss in losses] == ["go_on", "stop"]

    def test_without_a_rung_of_the_parent_nothing_is_said(self) -> None:
        fake = FakeStudy()
        fake.measure_noise()
        assert outlook(fake.study, fake.claim(parent="t0001"), HALF, 99.0).action == "go_on"

    def test_a_parent_that_rose_stands_still(self) -> None:
        assert generous_end(3.0, 2.0, 2.5) == 3.0

    @pytest.mark.parametrize("operator", [Operator.BASELINE, Operator.REPLICATE, Operator.ABLATE])
    def test_what_must_run_to_its_end_does(self, fake: FakeStudy, operator: Operator) -> None:
        program = "t0001" if operator is not Operator.ABLATE else None
        trial = fake.claim(parent="t0001", program=program, operator=operator)
        assert look(fake.study, trial, HALF, 9.0, shown_harmless(fake.study)).action == "go_on"

    def test_another_objective_is_not_judged_by_losses(self, fake: FakeStudy) -> None:
        trial = claimed(fake)
        fake.study.objective = Objective.of(ObjectiveTerms(name="accuracy", unit="", direction="maximize"))
        assert outlook(fake.study, trial, HALF, 99.0).action == "go_on"

    def test_the_parents_curve_is_the_mean_of_its_finished_runs(self, fake: FakeStudy) -> None:
        fake.finish(fake.baseline(), 2.8, rungs=((HALF, 3.8),))
        fake.fail(fake.baseline(), rungs=((HALF, 99.0),))
        assert curve(fake.study.programs["t0001"], HALF) == pytest.approx((2.8, 2.3))


class TestAudit:
    def test_a_tenth_goes_on_whatever_it_is(self, fake: FakeStudy) -> None:
        trial = claimed(fake, audited=True)
        seen = look(fake.study, trial, HALF, 9.0, shown_harmless(fake.study))
        assert seen.action == "audit" and "as a check" in seen.why
        chosen = sum(is_audited("resnext-20261121", f"t{number:04d}") for number in range(2000))
        assert chosen / 2000 == pytest.approx(1 / AUDIT_ONE_IN, abs=0.02)
        assert is_audited("a", "t0001") == is_audited("a", "t0001")

    def test_it_is_off_until_it_has_shown_how_little_it_harms(self, fake: FakeStudy) -> None:
        trial, same = claimed(fake), fake.study.opened.objective_sha256
        first = look(fake.study, trial, HALF, 9.0)
        assert first.action == "audit" and "nothing was audited" in first.why
        for audits, wrong, action in ((28, 0, "audit"), (29, 0, "stop"), (45, 1, "audit"), (46, 1, "stop")):
            known = [earlier(audits, wrong, objective_sha256=same)]
            assert look(fake.study, trial, HALF, 9.0, known).action == action, (audits, wrong)

    def test_audits_of_another_objective_do_not_count(self, fake: FakeStudy) -> None:
        other = earlier(200, objective_sha256="another")
        assert look(fake.study, claimed(fake), HALF, 9.0, [other]).action == "audit"
        assert pooled(fake.study, [other, fake.study]) == FalsePrunes(0, 0, 0)

    def test_own_audits_count_once(self, fake: FakeStudy) -> None:
        fake.finish(fake.claim(parent="t0001"), 2.5, audit=True)
        assert pooled(fake.study, [fake.study, earlier(3, objective_sha256=fake.study.opened.objective_sha256)]) == (
            FalsePrunes(4, 0, 0)
        )

    def test_audited_trials_that_won_are_counted(self, fake: FakeStudy) -> None:
        assert false_prunes(fake.study) == FalsePrunes(0, 0, 0)
        assert false_prunes(fake.study).rate is None and "unknown" in false_prunes(fake.study).text
        fake.finish(fake.claim(parent="t0001"), 2.5, audit=True)
        fake.finish(fake.claim(parent="t0001"), 2.1, audit=True)
        fake.fail(fake.claim(parent="t0001"), FailReason.PRUNED)
        found = false_prunes(fake.study)
        assert (found.audited, found.wrong, found.pruned, found.rate) == (2, 1, 1, 0.5)
        assert found.text == "1 of 2 audited, at most 97% (95 % upper bound)"

    def test_an_audited_trial_is_compared_with_the_incumbent_of_its_time(self, fake: FakeStudy) -> None:
        fake.finish(fake.claim(parent="t0001"), 2.19, audit=True)  # below the baseline, which led then
        fake.try_change(loss=2.0)
        fake.finish(fake.claim(parent="t0001"), 2.1, audit=True)  # above the leader of its time
        assert false_prunes(fake.study).wrong == 1


class TestUpperBound:
    @pytest.mark.parametrize(
        ("wrong", "audited", "bound"),
        [(0, 1, 0.95), (0, 10, 0.2589), (0, 59, 0.0495), (1, 20, 0.2161), (5, 9, 0.8312)],
    )
    def test_is_that_of_clopper_and_pearson(self, wrong: int, audited: int, bound: float) -> None:
        """Values of the beta distribution's 95 % point, B(wrong + 1, audited - wrong)."""
        assert upper_bound(wrong, audited) == pytest.approx(bound, abs=1e-4)

    def test_nothing_seen_says_nothing(self) -> None:
        assert upper_bound(0, 0) == 1.0 == upper_bound(4, 4)

    def test_so_many_clean_audits_are_enough(self) -> None:
        enough = next(count for count in range(1, 100) if upper_bound(0, count) <= MOST_FALSE)
        assert enough == 29 and math.isclose(upper_bound(0, enough), 1 - 0.05 ** (1 / enough), abs_tol=1e-9)
