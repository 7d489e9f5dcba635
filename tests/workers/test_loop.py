"""The order of a worker's steps, recorded from a worker that only pretends."""

import pytest
from factories.records import claim as claimed
from fakes.every_exception import every_exception, raising

from swarm.errors import BrainReplaced, Escaped, StaleSnapshot
from swarm.execution.runner import Walkaway
from swarm.study.state import Trial
from swarm.target.objective import Objective
from workers.dispatch import Assignment, BaselineReplicate, Propose, Replicate
from workers.loop import work

PROPOSE = Propose(arm="climb", role="climber", seed=1)


class FakeWorker:
    """Gets one assignment after the other and writes down what it is asked to do.

    `stale` are the numbers of the claims that come too late, `fruitless` those of which no proposal comes.
    """

    def __init__(
        self,
        *assignments: Assignment | None,
        room: int = 100,
        left_behind: tuple[str, ...] = (),
        stale: tuple[int, ...] = (),
        fruitless: tuple[int, ...] = (),
    ) -> None:
        self.steps: list[str] = []
        self._assignments = iter([*assignments, None])
        self._room = room
        self._left_behind = left_behind
        self._stale = stale
        self._fruitless = fruitless
        self._claims = 0

    def unfinished(self) -> list[Trial]:
        return [Trial(claimed(trial_id), Objective()) for trial_id in self._left_behind]

    def settle(self, trial: Trial) -> None:
        self.steps.append(f"settle {trial.trial_id}")

    def may_start(self) -> bool:
        self._room -= 1
        return self._room >= 0

    def next_assignment(self) -> Assignment | None:
        return next(self._assignments)

    def claim_baseline(self) -> Trial:
        return self._claim("baseline")

    def claim_replicate(self, program: str) -> Trial:
        return self._claim(f"replicate of {program}")

    def claim_proposal(self, assignment: Propose) -> Trial | None:
        trial = self._claim(f"proposal by {assignment.arm}")
        return None if self._claims in self._fruitless else trial

    def prepare_next(self) -> None:
        self.steps.append("prepare")

    def run(self, trial: Trial) -> None:
        self.steps.append(f"run {trial.trial_id}")

    def stumbled(self, escaped: Escaped) -> None:
        self.steps.append(f"stumbled over {escaped.text}")

    def _claim(self, what: str) -> Trial:
        self._claims += 1
        if self._claims in self._stale:
            self.steps.append(f"too late for a {what}")
            raise StaleSnapshot("somebody was quicker")
        self.steps.append(f"claim a {what}")
        return Trial(claimed(f"t{self._claims:04d}"), Objective())


def steps_of(worker: FakeWorker) -> list[str]:
    work(worker)  # type: ignore[arg-type]
    return worker.steps


def test_each_assignment_is_claimed_and_the_next_proposal_prepared_before_it_runs() -> None:
    assert steps_of(FakeWorker(BaselineReplicate(), Replicate("t0007"), PROPOSE)) == [
        *("claim a baseline", "prepare", "run t0001"),
        *("claim a replicate of t0007", "prepare", "run t0002"),
        *("claim a proposal by climb", "prepare", "run t0003"),
    ]


def test_what_an_earlier_process_left_behind_comes_first_even_when_there_is_no_room() -> None:
    worker = FakeWorker(PROPOSE, left_behind=("t0004", "t0005"), room=0)
    assert steps_of(worker) == ["settle t0004", "settle t0005"]


def test_nothing_is_claimed_once_there_is_no_room() -> None:
    worker = FakeWorker(BaselineReplicate(), BaselineReplicate(), room=1)
    assert steps_of(worker) == ["claim a baseline", "prepare", "run t0001"]


def test_the_work_ends_when_nothing_is_owed() -> None:
    assert steps_of(FakeWorker()) == []


def test_a_claim_that_comes_too_late_looks_again() -> None:
    assert steps_of(FakeWorker(BaselineReplicate(), PROPOSE, stale=(1,))) == [
        "too late for a baseline",
        *("claim a proposal by climb", "prepare", "run t0002"),
    ]


def test_room_is_asked_for_again_after_a_claim_that_came_too_late() -> None:
    worker = FakeWorker(PROPOSE, PROPOSE, stale=(1,), room=1)
    assert steps_of(worker) == ["too late for a proposal by climb"]


def test_a_proposal_that_came_to_nothing_runs_nothing() -> None:
    assert steps_of(FakeWorker(PROPOSE, BaselineReplicate(), fruitless=(1,))) == [
        "claim a proposal by climb",
        *("claim a baseline", "prepare", "run t0002"),
    ]


@pytest.mark.parametrize("step", ["next_assignment", "claim_proposal", "claim_baseline", "prepare_next", "run"])
def test_whatever_breaks_a_turn_is_told_and_the_next_turn_follows(step: str) -> None:
    for error in every_exception():
        worker = FakeWorker(BaselineReplicate(), PROPOSE, BaselineReplicate(), room=9)
        honest = getattr(worker, step)
        calls = iter([raising(error)])
        setattr(worker, step, lambda *given, honest=honest, calls=calls: next(calls, honest)(*given))
        steps = steps_of(worker)
        assert [said for said in steps if said.startswith("stumbled")] == [f"stumbled over {Escaped(error).text}"]
        assert steps[-1].startswith("run t"), "the turns after it ran"


def test_what_breaks_while_an_old_trial_is_settled_is_told_and_the_work_begins() -> None:
    for error in every_exception():
        worker = FakeWorker(BaselineReplicate(), left_behind=("t0004", "t0005"))
        worker.settle = raising(error)  # type: ignore[method-assign]
        told = f"stumbled over {Escaped(error).text}"
        assert steps_of(worker) == [told, told, "claim a baseline", "prepare", "run t0001"]


@pytest.mark.parametrize("error", [BrainReplaced("gone"), Walkaway(), KeyboardInterrupt()])
def test_a_lost_brain_a_lost_orchestrator_and_a_person_end_the_work(error: BaseException) -> None:
    worker = FakeWorker(PROPOSE)
    worker.run = raising(error)  # type: ignore[method-assign]
    with pytest.raises(type(error)):
        steps_of(worker)
