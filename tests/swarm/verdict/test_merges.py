"""Which two good changes are owed a program of their own."""

import pytest
from factories.studies import FakeStudy

from swarm.records import Operator, ProposalRejected
from swarm.verdict.merges import CONFLICT, CONFLICT_TURNS, Merge, common_ancestor, conflicts_open, contents, merge_owed

BASE = "t0001"


@pytest.fixture
def fake() -> FakeStudy:
    fake = FakeStudy(seed=3)
    fake.measure_noise()
    return fake


def two_gains(fake: FakeStudy) -> tuple[str, str]:
    """The leader and a smaller gain on the same base, which ended after it."""
    leader, other = fake.claim(parent=BASE, effect=-0.3), fake.claim(parent=BASE, effect=-0.2)
    fake.finish(leader)
    fake.finish(other)
    assert fake.study.incumbent is fake.study.programs[leader]
    return leader, other


def merged(fake: FakeStudy, pair: tuple[str, str], **options: object) -> str:
    return fake.claim(parent=pair[0], merged=pair, operator=Operator.RECOMBINE, **options)  # type: ignore[arg-type]


def refused(fake: FakeStudy, pair: tuple[str, str], code: str = CONFLICT) -> None:
    fake.write(ProposalRejected(code=code, detail="overlap", proposer="merge", arm="recombine", merged=pair))


def test_a_gain_beside_the_leader_is_owed_a_program_with_it(fake: FakeStudy) -> None:
    assert merge_owed(fake.study) is None
    leader, other = two_gains(fake)
    assert merge_owed(fake.study) == Merge(ours=leader, theirs=other, base=BASE)


def test_a_leader_that_was_overtaken_is_merged_into_the_one_that_overtook_it(fake: FakeStudy) -> None:
    first, second = fake.claim(parent=BASE, effect=-0.2), fake.claim(parent=BASE, effect=-0.4)
    fake.finish(first)
    fake.finish(second)
    assert merge_owed(fake.study) == Merge(ours=second, theirs=first, base=BASE)


def test_what_did_not_help_its_parent_is_not_merged(fake: FakeStudy) -> None:
    leader, other = fake.claim(parent=BASE, effect=-0.3), fake.claim(parent=BASE, effect=0.1)
    fake.finish(leader)
    fake.finish(other)
    assert merge_owed(fake.study) is None


def test_what_may_have_helped_is_not_enough(fake: FakeStudy) -> None:
    leader, other = fake.claim(parent=BASE, effect=-0.3), fake.claim(parent=BASE)
    fake.finish(leader)
    fake.finish(other, fake.study.programs[BASE].mean)
    verdict = fake.study.programs[other].verdict
    assert verdict is not None and verdict.decision == "inconclusive" and verdict.level == "none"
    assert merge_owed(fake.study) is None


def test_what_is_in_the_leader_already_is_not_merged(fake: FakeStudy) -> None:
    grandparent = fake.try_change(-0.3)
    parent = fake.try_change(-0.3)
    fake.try_change(-0.3)
    assert contents(fake.study, fake.study.programs[parent]) == {BASE, grandparent, parent}
    assert merge_owed(fake.study) is None


def test_what_was_merged_into_an_ancestor_is_in_its_children(fake: FakeStudy) -> None:
    leader, other = two_gains(fake)
    both = merged(fake, (leader, other), effect=-0.3)
    fake.finish(both)
    assert fake.study.incumbent is fake.study.programs[both]
    child = fake.try_change(-0.3)
    assert other in contents(fake.study, fake.study.programs[child])
    assert merge_owed(fake.study) is None


def test_a_pair_is_tried_once(fake: FakeStudy) -> None:
    leader, other = two_gains(fake)
    both = merged(fake, (leader, other))
    assert merge_owed(fake.study) is None
    fake.finish(both, 9.0)
    fake.try_change(-0.3)  # a child of the leader with which it did not combine
    assert merge_owed(fake.study) is None


@pytest.mark.parametrize("code", [CONFLICT, "duplicate"])
def test_a_pair_that_could_not_be_made_is_not_tried_again(fake: FakeStudy, code: str) -> None:
    refused(fake, two_gains(fake), code)
    assert merge_owed(fake.study) is None


def test_a_trial_that_runs_is_waited_for(fake: FakeStudy) -> None:
    _, other = two_gains(fake)
    again = fake.claim(program=other, operator=Operator.REPLICATE)
    assert merge_owed(fake.study) is None
    fake.finish(again)
    assert merge_owed(fake.study) is not None


def test_merges_take_an_eighth_of_the_programs(fake: FakeStudy) -> None:
    leader, other = two_gains(fake)
    fake.finish(merged(fake, (leader, other)), 9.0)
    third = fake.claim(parent=BASE, effect=-0.2)
    fake.finish(third)
    assert merge_owed(fake.study) is None
    while len(fake.study.programs) < 16:  # the fifteenth beside the baseline would be the second merge
        assert merge_owed(fake.study) is None
        fake.finish(fake.claim(parent=leader), 9.0)
    assert merge_owed(fake.study) == Merge(leader, third, BASE)


class TestConflicts:
    def test_are_open_until_somebody_made_them_one_program(self, fake: FakeStudy) -> None:
        pair = two_gains(fake)
        assert conflicts_open(fake.study) == []
        refused(fake, pair)
        assert conflicts_open(fake.study) == [Merge(*pair, BASE)]
        merged(fake, pair)
        assert conflicts_open(fake.study) == []

    def test_are_given_up_after_some_answers(self, fake: FakeStudy) -> None:
        pair = two_gains(fake)
        refused(fake, pair)
        for _ in range(CONFLICT_TURNS):
            assert conflicts_open(fake.study)
            refused(fake, pair, "no_change")
        assert conflicts_open(fake.study) == []

    def test_are_about_the_incumbent(self, fake: FakeStudy) -> None:
        pair = two_gains(fake)
        refused(fake, pair)
        fake.try_change(-0.3)
        assert conflicts_open(fake.study) == []


def test_the_common_ancestor_is_the_youngest(fake: FakeStudy) -> None:
    parent = fake.try_change(-0.3)
    one, two = (fake.claim(parent=parent) for _ in range(2))
    programs = fake.study.programs
    found = common_ancestor(fake.study, programs[one], programs[two])
    assert found is programs[parent]
    assert common_ancestor(fake.study, programs[one], programs[parent]) is None
    assert common_ancestor(fake.study, programs[parent], programs[one]) is None
