"""A guard that fails keeps a better objective from being kept; equal numbers do not make every change certain."""

from typing import Any

import pytest
from factories.records import claim, finished, study_opened

from swarm import verdict
from swarm.records import Decision, Guard, ObjectiveTerms, Operator, Score, TargetTerms, VerdictReached
from swarm.study.state import BrainState
from swarm.verdict import finals
from swarm.verdict.guards import judge_guards

GUARD = Guard(name="ms", op="<=", limit=10.0)


def scored(value: float, **metrics: float) -> Score:
    return Score(validation_loss=value, rows=0, metrics=metrics)


class Night:
    """Runs of programs, given as (value, ms), and the verdicts that follow."""

    def __init__(self, *guards: Guard, direction: str = "minimize", digits: int = 4) -> None:
        terms = TargetTerms(grade="graded", editable=("*.py",), guards=guards)
        objective = ObjectiveTerms(name="rmse", unit="", direction=direction, digits=digits)  # type: ignore[arg-type]
        self.state = BrainState()
        self.state.apply(study_opened(study_id="s", noise_replicates=5, terms=terms, objective=objective))
        self.count = 0

    @property
    def study(self) -> Any:
        return self.state.studies["s"]

    def run(self, value: float, ms: float = 5.0, program: str = "", **fields: Any) -> list[VerdictReached]:
        self.count += 1
        name = f"t{self.count:04d}"
        operator = Operator.BASELINE if self.count == 1 or program == "t0001" else Operator.TUNE
        parent = None if operator is Operator.BASELINE else "t0001"
        made = {"operator": operator, "parent": parent, "program": program or name, **fields}
        self.state.apply(claim(name, study_id="s", **made))
        self.state.apply(finished(name, value, study_id="s", score=scored(value, ms=ms)))
        reached = verdict.conclude(self.study, name)
        for one in reached:
            self.state.apply(one)
        return reached

    def floor(self, *values: float, ms: float = 5.0) -> None:
        for value in values:
            self.run(value, ms, program="t0001")


def test_a_guard_that_fails_keeps_a_better_objective_from_leading() -> None:
    night = Night(GUARD)
    night.floor(1.00, 1.01, 0.99, 1.00, 1.01)
    (bad,) = night.run(0.50, ms=20.0)
    assert (bad.decision, bad.leads, bad.level) == (Decision.DISCARD, False, "none")
    assert bad.broken and "guard ms <= 10 fails: 20 over 1 run(s)" in bad.why and "By the objective alone" in bad.why
    (good,) = night.run(0.60, ms=9.0)
    assert good.leads and good.broken == ()


@pytest.mark.parametrize(("ms", "keeps"), [((5.0, 5.2, 4.9), True), ((25.0, 24.0, 26.0), False)])
def test_the_finals_keep_no_program_whose_guard_fails_there(ms: tuple[float, ...], keeps: bool) -> None:
    night = Night(GUARD)
    night.floor(1.00, 1.01, 0.99, 1.00, 1.01)
    night.run(0.60, ms=9.0)
    opened = finals.begin(night.study, 8)
    assert opened is not None and opened.finalists == ("t0006",)
    night.state.apply(opened.model_copy(update={"seq": 100}))
    for number, one in enumerate(ms):
        night.run(1.0 + 0.01 * number, program="t0001", finals=1, finals_round=1)
        night.run(0.60, ms=one, program="t0006", finals=1, finals_round=1)
    judged, _ = finals.close(night.study, opened)
    assert isinstance(judged, VerdictReached)
    assert (judged.decision is Decision.KEEP) is keeps, judged.why
    assert bool(judged.broken) is not keeps and ("fails" in judged.why) is not keeps


def test_a_guard_is_judged_with_its_own_noise() -> None:
    night = Night(GUARD)
    for value, ms in ((1.0, 8.0), (1.01, 11.0), (0.99, 9.0), (1.0, 12.0), (1.01, 10.0)):
        night.run(value, ms, program="t0001")
    night.run(0.5, ms=10.4)
    (judged,) = judge_guards(night.study, night.study.programs["t0006"])
    assert 0.3 < judged.probability < 0.7 and not judged.holds and not judged.fails, "one noisy reading decides nothing"
    verdict_ = night.study.programs["t0006"].verdict
    assert verdict_.decision is Decision.INCONCLUSIVE and not verdict_.leads and "is in doubt" in verdict_.why


def test_a_number_that_never_varies_is_exact_at_its_limit() -> None:
    for op, holds in (("<=", True), ("<", False), (">=", True), (">", False)):
        night = Night(Guard(name="ms", op=op, limit=5.0))  # type: ignore[arg-type]
        night.floor(1.00, 1.01, 0.99, 1.00, 1.01)
        assert judge_guards(night.study, night.study.baseline)[0].holds is holds


def test_a_run_without_the_number_does_not_hold_its_guard() -> None:
    night = Night(Guard(name="bytes", op="<=", limit=5.0))
    night.floor(1.00, 1.01, 0.99, 1.00, 1.01)
    (judged,) = night.run(0.5)
    assert judged.decision is Decision.DISCARD and "gave no bytes" in judged.why


def test_equal_numbers_do_not_make_every_change_certain() -> None:
    night = Night(digits=3)
    night.floor(1.0, 1.0, 1.0, 1.0, 1.0)
    assert verdict.study_noise(night.study).sigma == 0.0005
    (tiny,) = night.run(0.9999)
    assert tiny.probability < 0.8 and not tiny.leads
    (large,) = night.run(0.9)
    assert large.leads


def test_higher_is_better_where_the_target_says_so() -> None:
    night = Night(direction="maximize")
    night.floor(0.70, 0.71, 0.69, 0.70, 0.71)
    (worse,) = night.run(0.50)
    assert worse.decision is Decision.DISCARD and "worse by 0.2" in worse.why
    (better,) = night.run(0.90)
    assert better.leads and better.delta < 0 and "better by 0.19" in better.why
    assert next(program.name for program in night.study.ranked()) == "t0007"


def test_what_is_at_its_limit_in_each_run_is_exact_and_one_slip_is_never_forgiven() -> None:
    night = Night(Guard(name="ms", op="<=", limit=0.0))
    night.floor(1.00, 1.01, 0.99, 1.00, 1.01, ms=0.0)
    night.run(0.50, ms=0.0, program="t0006")
    for slip in (0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0):
        night.run(0.50, ms=slip, program="t0006")
    night.run(0.60, ms=0.0)
    (once,) = judge_guards(night.study, night.study.programs["t0006"])
    (never,) = judge_guards(night.study, night.study.programs["t0015"])
    assert (never.probability, never.holds) == (1.0, True), never
    assert not once.holds and once.probability < 0.5, once
