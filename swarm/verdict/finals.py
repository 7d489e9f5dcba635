"""The finals of a study: what runs next in them, and what they decide. Pure.

Everything is read from the study's records: `FinalsOpened` says who is in and how the slots are spent, the claims say
which runs there are, so that any process can go on where another one died. Only runs of these finals count, against the
baseline's runs of the same rounds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from swarm.records import (
    MAX_DESCRIPTION,
    Decision,
    FinalsClosed,
    FinalsOpened,
    FinalsRound,
    Record,
    VerdictReached,
)
from swarm.study.state import Program, StudyState, Trial
from swarm.verdict import plan
from swarm.verdict.decisions import PROVISIONAL, TIE_SIGMAS, floored, is_kept, study_noise, unselected
from swarm.verdict.evidence import (
    Comparison,
    NoiseFloor,
    PairedDifference,
    mass_below_zero,
    measure_noise,
    own_noise,
    posterior,
    prior_for,
    welch,
)
from swarm.verdict.guards import after_guards, judge_guards
from swarm.verdict.replication import contenders

DRIFTED = 0.01
AGAIN = 1  # a run that failed is run again so often for each program, while there are slots


@dataclass(frozen=True, slots=True)
class Run:
    """One run that the finals owe."""

    program: str
    round: int


@dataclass(frozen=True, slots=True)
class Standing:
    """Where open finals stand. `owed` can be claimed now, in this order; with nothing owed and `waiting` for nothing
    they are `done`."""

    opened: FinalsOpened
    round: int
    alive: tuple[str, ...]
    owed: tuple[Run, ...]
    waiting: int

    @property
    def done(self) -> bool:
        return not self.owed and not self.waiting


def open_finals(study: StudyState) -> FinalsOpened | None:
    """The finals that have begun and not ended."""
    newest = study.finals[-1] if study.finals else None
    return newest if newest is not None and newest.number not in study.finals_ends else None


def begin(study: StudyState, slots: int) -> FinalsOpened | None:
    """The record that begins finals with so many slots; None where nobody contends or the slots decide nothing."""
    if study_noise(study) is None:
        return None
    hopefuls = [program for program in contenders(study) if not is_kept(program)]
    planned = plan.rounds(slots, len(hopefuls))
    if not planned:
        return None
    number = len(study.finals) + 1
    chosen = tuple(program.name for program in hopefuls[: planned[0].programs])
    return FinalsOpened(
        id=f"{study.study_id}/finals/{number}/opened",
        study_id=study.study_id,
        description=f"finals {number}: {len(chosen)} finalist(s) and the baseline, {plan.runs(planned)} runs",
        number=number,
        finalists=chosen,
        rounds=planned,
        slots=slots,
        level=plan.level(len(chosen), number),
    )


def where(study: StudyState, opened: FinalsOpened) -> Standing:
    """What the finals owe now, from their claims."""
    base = _baseline(study)
    trials = [trial for trial in study.trials.values() if trial.claim.finals == opened.number]
    left = opened.slots - len(trials)
    alive = opened.finalists
    number = 0
    for number, one in enumerate(opened.rounds, 1):
        alive = _best(study, opened, alive, one.programs, number)
        owed = list(_lacking(trials, base, alive, number, one))[: max(0, left)]
        waiting = sum(trial.finished is None for trial in trials)
        if owed or waiting:
            return Standing(opened, number, alive, tuple(owed), waiting)
        alive = tuple(name for name in alive if _scored(trials, name, number) >= min(1, one.runs))
    return Standing(opened, number, alive, (), 0)


def close(study: StudyState, opened: FinalsOpened, items: PairedDifference | None = None) -> list[Record]:
    """The records that end finals of which every run has ended: the verdict on the winner, and the end itself. `items`
    compares the winner with the baseline item by item, where the study's noise is that of its items."""
    now = where(study, opened)
    base = study.programs[_baseline(study)]
    late = finals_costs(base, opened.number)
    winner = study.programs[now.alive[0]] if now.alive else None
    verdict = _verdict(study, opened, winner, base, items) if winner is not None and len(late) > 1 else None
    early, drift = base.costs, _drift(study, base, late)
    kept = verdict is not None and verdict.decision is Decision.KEEP
    why = verdict.why if verdict is not None else "No finalist has two runs beside the baseline's."
    end = FinalsClosed(
        id=f"{study.study_id}/finals/{opened.number}/closed",
        study_id=study.study_id,
        description=f"finals {opened.number} closed: {verdict.program if kept and verdict else 'nothing'} kept",
        number=opened.number,
        winner=winner.name if verdict is not None and winner is not None else None,
        kept=kept,
        baseline_early=fmean(early) if early else None,
        baseline_late=fmean(late) if late else None,
        drift_p=drift,
        drifted=drift is not None and drift <= DRIFTED,
        why=why,
    )
    return [verdict, end] if verdict is not None else [end]


def finals_costs(program: Program, number: int) -> list[float]:
    """Of its runs in the finals with this number."""
    return [cost for trial in program.trials if trial.claim.finals == number and (cost := trial.cost) is not None]


def deciding_costs(program: Program) -> list[float]:
    """The runs that its standing rests on: those of the finals alone once they decided, else those of the search."""
    number = program.verdict.finals if program.verdict is not None else 0
    return finals_costs(program, number) if number else program.costs


def noise_with_finals(study: StudyState, number: int) -> NoiseFloor | None:
    """Pooled over the search and these finals, each program's runs in each by themselves."""
    programs = study.programs.values()
    groups = [*map(unselected, programs), *(finals_costs(program, number) for program in programs)]
    return floored(measure_noise(groups), study)


def winner_of(study: StudyState, opened: FinalsOpened) -> Program | None:
    """The best in the last round, once all runs have ended."""
    alive = where(study, opened).alive
    return study.programs[alive[0]] if alive else None


def _verdict(
    study: StudyState, opened: FinalsOpened, winner: Program, base: Program, items: PairedDifference | None
) -> VerdictReached | None:
    mine, theirs = finals_costs(winner, opened.number), finals_costs(base, opened.number)
    noise = noise_with_finals(study, opened.number)
    if len(mine) < 2 or noise is None:
        return None
    own, reference = own_noise(mine, noise), own_noise(theirs, noise)
    test = welch(mine, theirs, (own, reference), items)
    error = (own.sigma**2 / len(mine) + reference.sigma**2 / len(theirs)) ** 0.5
    probability = mass_below_zero(posterior(test.difference, error, prior_for(noise.sigma)))
    if test.p_value <= opened.level:
        decision = Decision.KEEP
    else:
        decision = Decision.DISCARD if probability < 0.5 else Decision.INCONCLUSIVE
    why = _why(study, opened, test, noise, (len(mine), len(theirs)))
    guards = judge_guards(study, winner, opened.number)
    broken = tuple(str(one) for one in guards if not one.holds)
    decision, why = after_guards(guards, decision, why)
    last = next(trial for trial in reversed(winner.trials) if trial.claim.finals and trial.cost is not None)
    incumbent = study.incumbent
    return VerdictReached(
        id=f"{study.study_id}/finals/{opened.number}/verdict",
        agent_id=last.claim.agent_id,
        study_id=study.study_id,
        description=f"{decision.value}: {winner.first.claim.description}"[:MAX_DESCRIPTION],
        trial_id=last.trial_id,
        program=winner.name,
        parent=base.name,
        decision=decision,
        level="none" if broken else _level(decision, probability),
        broken=broken,
        leads=decision is Decision.KEEP or (decision is Decision.INCONCLUSIVE and incumbent is winner and not broken),
        probability=round(probability, 6),
        delta=test.difference,
        sigma=noise.sigma,
        replicates=len(mine),
        parent_replicates=len(theirs),
        why=why[:500],
        own_sigma=own.sigma,
        parent_sigma=reference.sigma,
        noise_degrees=noise.degrees,
        finals=opened.number,
        degrees=test.degrees,
        p_value=test.p_value,
        level_needed=opened.level,
        delta_low=test.low,
        delta_high=test.high,
    )


def _level(decision: Decision, probability: float) -> str:
    if decision is Decision.KEEP:
        return "confirmed"
    return "provisional" if decision is Decision.INCONCLUSIVE and probability >= PROVISIONAL else "none"


def _why(study: StudyState, opened: FinalsOpened, test: Comparison, noise: NoiseFloor, count: tuple[int, int]) -> str:
    objective = study.objective
    size = objective.gain(test.difference)
    ends = sorted((objective.value(test.low), objective.value(test.high)))
    interval = f"95 % interval of the change {ends[0]:+.{objective.digits}f} to {ends[1]:+.{objective.digits}f}"
    proof = f"p {test.p_value:.2g} of at most {opened.level:.2g}"
    if test.p_value <= opened.level:
        return f"{size} than the baseline over {count[0]} fresh runs against {count[1]}, {interval}, {proof}."
    text = f"not proven: {size} than the baseline over {count[0]} fresh runs against {count[1]}, {interval}, {proof}"
    more = plan.runs_to_decide(test.difference, noise.sigma, opened.level)
    return f"{text}. {f'A gain of this size needs about {more} runs on each side.' if more else ''}".strip()


def _drift(study: StudyState, base: Program, late: Sequence[float]) -> float | None:
    """Two-sided p-value of equal means of the baseline's runs in the noise floor and in the finals."""
    noise = study_noise(study)
    if noise is None or len(late) < 2 or len(base.costs) < 2:
        return None
    test = welch(late, base.costs, (own_noise(late, noise), own_noise(base.costs, noise)))
    return round(2 * min(test.p_value, 1 - test.p_value), 6)


def _best(study: StudyState, opened: FinalsOpened, alive: Sequence[str], count: int, number: int) -> tuple[str, ...]:
    """Those that go into a round: the best by their runs in the rounds before and their unselected ones in the search.

    Who goes on may be chosen by all that is known, since the verdict is not. Of several within a quarter of a sigma of
    the best the shortest one goes into a round for one.
    """
    if number == 1:
        return tuple(alive[:count])
    means = {name: _known_mean(study.programs[name], opened.number, number) for name in alive}
    ranked = sorted(means, key=lambda name: means[name])
    noise = study_noise(study)
    if count > 1 or not ranked or noise is None:
        return tuple(ranked[:count])
    tied = [name for name in ranked if means[name] <= means[ranked[0]] + TIE_SIGMAS * noise.sigma]
    return (min(tied, key=lambda name: study.programs[name].first.claim.source_lines),)


def _known_mean(program: Program, finals: int, number: int) -> float:
    return fmean([*_before(program, finals, number), *unselected(program)])


def _before(program: Program, finals: int, number: int) -> list[float]:
    """Its costs in the rounds before the one with this number."""
    own = [trial for trial in program.trials if trial.claim.finals == finals and trial.claim.finals_round < number]
    return [cost for trial in own if (cost := trial.cost) is not None]


def _lacking(trials: Sequence[Trial], base: str, alive: Sequence[str], number: int, one: FinalsRound) -> Iterator[Run]:
    """Runs of a round that nobody has claimed, interleaved: forth in one pass, back in the next, so that a slow drift
    within the round meets all alike."""
    have = {name: _claimed(trials, name, number) for name in (base, *alive)}
    for turn in range(one.runs):
        names = (base, *alive) if turn % 2 == 0 else (*reversed(alive), base)
        for name in names:
            if have[name] <= turn:
                yield Run(name, number)


def _claimed(trials: Sequence[Trial], program: str, number: int) -> int:
    """Runs of a program in a round that are open, ended well, or failed once too often to be run again."""
    own = [trial for trial in trials if trial.claim.program == program and trial.claim.finals_round == number]
    failed = sum(trial.finished is not None and trial.cost is None for trial in own)
    return len(own) - min(failed, AGAIN)


def _scored(trials: Sequence[Trial], program: str, number: int) -> int:
    return sum(
        trial.cost is not None
        for trial in trials
        if trial.claim.program == program and trial.claim.finals_round == number
    )


def _baseline(study: StudyState) -> str:
    base = study.baseline
    assert base is not None  # finals begin when the noise floor is measured
    return base.name
