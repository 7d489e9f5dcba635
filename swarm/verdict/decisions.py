"""What a study concludes about a program after one more of its trials, while the search goes on.

Nothing here keeps a program: the strongest that one can be during the search is leading. What is kept is decided by
`swarm.verdict.finals`.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from swarm.records import MAX_DESCRIPTION, Decision, TrialFinished, VerdictReached
from swarm.study.lineage import ancestors
from swarm.study.state import Program, StudyState, Trial
from swarm.verdict.evidence import (
    NoiseFloor,
    Normal,
    PairedDifference,
    mass_below_zero,
    measure_noise,
    own_noise,
    posterior,
    prior_for,
    standard_error,
)
from swarm.verdict.guards import after_guards, judge_guards

PROVISIONAL = 0.70
CLEARLY_WORSE = 1 - PROVISIONAL
TIE_SEEDS = 3
TIE_SIGMAS = 0.25
STRICT_GATE_SIGMAS = 1.0
LEADERS_BEFORE_STRICT = 3

Level = Literal["none", "provisional"]


def judge(study: StudyState, trial_id: str, paired: PairedDifference | None = None) -> VerdictReached | None:
    """The verdict on the program of a trial that has just finished.

    None when there is nothing to say: the trial failed, still runs or is one of the finals, the program is the
    baseline, or the noise floor is not measured yet. `paired` compares the program with `reference(study, program)`
    image by image. Raises KeyError when the trial is not in the study.
    """
    trial, program = study.trials[trial_id], study.program_of(trial_id)
    noise = study_noise(study)
    if noise is None or trial.cost is None or trial.claim.finals:
        return None
    return _verdict(study, program, trial, noise=noise, incumbent=study.incumbent, paired=paired)


def conclude(study: StudyState, trial_id: str, paired: PairedDifference | None = None) -> list[VerdictReached]:
    """Every verdict that a finished trial leads to, in the order in which to record them.

    First its own program's, as `judge` says. Then those that it makes due elsewhere: programs that finished before the
    noise floor was known, and programs whose parent's mean has moved or whose parent fell, where the verdict changes.
    """
    noise = study_noise(study)
    finished = study.trials[trial_id]
    if noise is None or finished.cost is None or finished.claim.finals:
        return []
    incumbent, verdicts = study.incumbent, []
    fallen = {name for name, program in study.programs.items() if _discarded(program)}
    own = study.program_of(trial_id)
    for program in (own, *(other for other in study.programs.values() if other is not own)):
        if not _due(study, program, own, fallen):
            continue
        trial = finished if program is own else _last_scored(program)
        evidence = paired if program is own else None
        verdict = _verdict(study, program, trial, noise=noise, incumbent=incumbent, paired=evidence, fallen=fallen)
        if verdict is None or (program is not own and not _news(program.verdict, verdict)):
            continue
        verdicts.append(verdict)
        fallen = fallen | {program.name} if verdict.decision is Decision.DISCARD else fallen - {program.name}
        if verdict.leads:
            incumbent = program
    return verdicts


def study_noise(study: StudyState) -> NoiseFloor | None:
    """Pooled over all replicates of the search; None until there are as many as the study asked for at its start."""
    noise = floored(measure_noise([unselected(program) for program in study.programs.values()]), study)
    return noise if noise is not None and noise.degrees >= study.opened.noise_replicates - 1 else None


def floored(noise: NoiseFloor | None, study: StudyState) -> NoiseFloor | None:
    """No less than half a unit of the objective's last digit: where equal programs give equal numbers, not every change
    is certain."""
    if noise is None:
        return None
    return NoiseFloor(max(noise.sigma, 0.5 * 10.0**-study.objective.digits), noise.degrees)


def unselected(program: Program) -> list[float]:
    """Its runs in the search that say how much it scatters: all but the first one of a changed program.

    That one was lucky, or there would be no second, and with it a pair of runs would measure 1.5 times the true
    variance.
    """
    return program.costs if program.parent is None else program.costs[1:]


def reference(study: StudyState, program: Program, fallen: Collection[str] | None = None) -> Program | None:
    """What a program is judged against: its parent or, where that was discarded or has no result, the next ancestor.

    None for the baseline, and while no ancestor has a result. `fallen` names what counts as discarded, if not what the
    recorded verdicts say.
    """
    for one in ancestors(study, program):
        if one.costs and not (_discarded(one) if fallen is None else one.name in fallen):
            return one
    return None


def difference(study: StudyState, program: Program, against: Program, noise: NoiseFloor) -> Normal:
    """The belief about the true difference of two programs' mean costs, by their runs in the search."""
    mine, theirs = own_noise(unselected(program), noise), own_noise(unselected(against), noise)
    error = standard_error(mine.sigma, len(program.costs), theirs.sigma, len(against.costs))
    return posterior(_mean(program) - _mean(against), error, prior_for(noise.sigma))


def stale(study: StudyState, finished: TrialFinished) -> str | None:
    """The earlier trial with the same value to six decimals under a different program, if there is one.

    A sign that the edit did nothing or was never run. A flag and not a proof: among 100 programs that differ only by
    noise of 0.012, two agree this far by chance in about one study of eight.
    """
    if finished.validation_loss is None:
        return None
    tree = study.trials[finished.trial_id].claim.tree_sha256
    for trial in study.trials.values():
        if trial.trial_id == finished.trial_id or trial.cost is None or trial.claim.tree_sha256 == tree:
            continue
        if f"{study.objective.value(trial.cost):.6f}" == f"{finished.validation_loss:.6f}":
            return trial.trial_id
    return None


@dataclass(frozen=True, slots=True)
class _Case:
    """A program beside the one that it is judged against."""

    study: StudyState
    program: Program
    against: Program
    noise: NoiseFloor
    probability: float

    @property
    def delta(self) -> float:
        return _mean(self.program) - _mean(self.against)

    @property
    def in_sigmas(self) -> float:
        return self.delta / self.noise.sigma if self.noise.sigma else math.copysign(math.inf, self.delta)

    @property
    def seeds(self) -> int:
        return min(len(self.program.costs), len(self.against.costs))

    @property
    def lines_grown(self) -> int:
        now, before = (side.first.claim.source_lines for side in (self.program, self.against))
        return now - before if now and before else 0  # 0: a record of a version that did not count them

    @property
    def simpler(self) -> bool:
        """Shorter and not worse, on enough seeds to say so."""
        return self.seeds >= TIE_SEEDS and self.lines_grown < 0 and self.in_sigmas <= TIE_SIGMAS


def _verdict(
    study: StudyState,
    program: Program,
    trial: Trial,
    *,
    noise: NoiseFloor,
    incumbent: Program | None,
    paired: PairedDifference | None,
    fallen: Collection[str] | None = None,
) -> VerdictReached | None:
    against = reference(study, program, fallen)
    if against is None or incumbent is None:
        return None
    mine, theirs = own_noise(unselected(program), noise), own_noise(unselected(against), noise)
    image_error = paired.standard_error if paired is not None else None
    error = standard_error(mine.sigma, len(program.costs), theirs.sigma, len(against.costs), image_error)
    belief = posterior(_mean(program) - _mean(against), error, prior_for(noise.sigma))
    case = _Case(study, program, against, noise, mass_below_zero(belief))
    decision, level, why = _decide(case)
    guards = judge_guards(study, program)
    broken = tuple(str(one) for one in guards if not one.holds)
    decision, why = after_guards(guards, decision, why)
    rival = _against_incumbent(case, incumbent)
    return VerdictReached(
        agent_id=trial.claim.agent_id,
        study_id=study.study_id,
        description=f"{decision.value}: {program.first.claim.description}"[:MAX_DESCRIPTION],
        trial_id=trial.trial_id,
        program=program.name,
        parent=against.name,
        decision=decision,
        level="none" if broken else level,
        broken=broken,
        leads=not broken and _leads(case, decision, incumbent, rival, strict=_leaders_mostly_fell(study)),
        probability=round(case.probability, 6),
        probability_incumbent=round(rival, 6) if rival is not None else None,
        delta=case.delta,
        sigma=noise.sigma,
        replicates=len(program.costs),
        parent_replicates=len(against.costs),
        why=why[:500],
        own_sigma=mine.sigma,
        parent_sigma=theirs.sigma,
        noise_degrees=noise.degrees,
        image_error=image_error,
    )


def _decide(case: _Case) -> tuple[Decision, Level, str]:
    """The first rule that applies, from the strongest claim to none at all."""
    sigmas = f"{abs(case.in_sigmas):.1f}" if abs(case.in_sigmas) < 100 else "over 100"
    size = f"{case.study.objective.gain(case.delta)} ({sigmas} sigma) than {case.against.name}"
    odds = f"P(better) {case.probability:.2f}"
    runs = len(case.program.costs)
    if case.simpler:
        why = f"{-case.lines_grown} lines shorter and not worse: {size}. No gain is claimed."
        return Decision.INCONCLUSIVE, "none", why
    if case.seeds >= TIE_SEEDS and case.lines_grown > 0 and abs(case.in_sigmas) <= TIE_SIGMAS:
        return Decision.DISCARD, "none", f"A tie, and {case.lines_grown} lines longer: {size}."
    if case.probability >= PROVISIONAL:
        return Decision.INCONCLUSIVE, "provisional", f"{size} on {runs} seed(s), {odds}: promising, not proven."
    if runs > 1 and case.probability < 0.5:
        return Decision.DISCARD, "none", f"{size} after {runs} seeds, {odds}: the first run was luck."
    if case.probability <= CLEARLY_WORSE:
        return Decision.DISCARD, "none", f"{size}, {odds}: worse."
    noise = case.study.objective.size(case.noise.sigma)
    return Decision.INCONCLUSIVE, "none", f"{size}, {odds}: within the noise of {noise}."


def _against_incumbent(case: _Case, incumbent: Program) -> float | None:
    """None when the program is the incumbent itself."""
    if incumbent is case.program:
        return None
    if incumbent is case.against:
        return case.probability
    return mass_below_zero(difference(case.study, case.program, incumbent, case.noise))


def _leads(case: _Case, decision: Decision, incumbent: Program, rival: float | None, *, strict: bool) -> bool:
    """A leader stays until it is discarded; a new one must also beat the incumbent of the moment."""
    if decision == Decision.DISCARD:
        return False
    if rival is None:
        return True
    if case.simpler:
        return incumbent is case.against or rival >= PROVISIONAL
    gain = _mean(incumbent) - _mean(case.program)
    far_enough = not strict or gain >= STRICT_GATE_SIGMAS * case.noise.sigma
    return case.probability >= PROVISIONAL and rival >= PROVISIONAL and far_enough


def _leaders_mostly_fell(study: StudyState) -> bool:
    """More than half of at least three programs that ever led were discarded later."""
    led = {verdict.program for verdict in study.verdicts if verdict.leads}
    fallen = [name for name in led if _discarded(study.programs[name])]
    return len(led) >= LEADERS_BEFORE_STRICT and 2 * len(fallen) > len(led)


def _due(study: StudyState, program: Program, own: Program, fallen: Collection[str]) -> bool:
    """It is `own`, or has a result and no verdict yet, or what it is judged against is `own` or another than it was."""
    if program.parent is None or not program.costs or is_kept(program):  # what the finals kept stays kept
        return False
    if program is own or program.verdict is None:
        return True
    against = reference(study, program, fallen)
    return against is not None and (against is own or against.name != program.verdict.parent)


def _news(old: VerdictReached | None, new: VerdictReached) -> bool:
    if old is None:
        return True
    return (old.decision, old.level, old.leads, old.parent) != (new.decision, new.level, new.leads, new.parent)


def is_kept(program: Program) -> bool:
    return program.verdict is not None and program.verdict.decision is Decision.KEEP


def _last_scored(program: Program) -> Trial:
    return next(trial for trial in reversed(program.trials) if trial.cost is not None and not trial.claim.finals)


def _discarded(program: Program) -> bool:
    return program.verdict is not None and program.verdict.decision == Decision.DISCARD


def _mean(program: Program) -> float:
    return fmean(program.costs)
