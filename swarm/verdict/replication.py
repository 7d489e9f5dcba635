"""Which program gets another seed while the search goes on, within the share of trials that replicates may take.

Two kinds of runs, in this order. A new leader gets two at once, since the others build on it and its first run was
lucky. What is left over looks again at programs that may still be the best, so that the finals choose among means and
not among single runs.
"""

from fractions import Fraction
from statistics import fmean

from swarm.records import Decision, Operator
from swarm.study.state import Program, StudyState
from swarm.verdict.decisions import difference, is_kept, reference, study_noise
from swarm.verdict.evidence import NoiseFloor, mass_below_zero

REPLICATE_SHARE = Fraction(1, 5)
FIRST_REPLICATES = 2
LEADER_SEEDS = 3
MOST_SEEDS = 4
STILL_BEST = 0.2
SPARE_CREDIT = 2


def replicates_owed(study: StudyState) -> list[str]:
    """Names of the programs to run again now, most urgent first, one name a run, no more than the study can afford."""
    credit = replicate_credit(study)
    if credit <= 0:
        return []
    owed = [name for leader in _leaders(study) for name in [leader.name] * (LEADER_SEEDS - _seeds(leader))]
    if not owed and credit > SPARE_CREDIT:
        owed = _second_looks(study)[: credit - SPARE_CREDIT]
    return owed[:credit]


def replicate_credit(study: StudyState) -> int:
    """How many replicates may be claimed now: at most a fifth of all trials after the noise floor, and two to begin.

    Runs of the finals count on neither side.
    """
    made, spent = 0, 0
    for trial in study.trials.values():
        if trial.claim.operator != Operator.BASELINE and not trial.claim.finals:
            made += 1
            spent += trial.claim.operator == Operator.REPLICATE
    # The largest credit c with spent + c <= (made + c) / 5: each replicate is a trial too.
    share = REPLICATE_SHARE
    by_share = (share * made - spent) / (1 - share)
    return max(0, int(by_share) if by_share > 0 else 0, FIRST_REPLICATES - spent)


def promise(study: StudyState, program: Program, noise: NoiseFloor) -> float:
    """Expected mean cost of a program, by its runs in the search: that of what it is judged against, plus the belief
    about their difference. Less is better. The baseline's is its mean."""
    against = reference(study, program)
    if against is None:
        return fmean(program.costs)
    return fmean(against.costs) + difference(study, program, against, noise).mean


def contenders(study: StudyState) -> list[Program]:
    """Judged programs that were not discarded, the most promising first."""
    noise = study_noise(study)
    if noise is None:
        return []
    standing = [
        program
        for program in study.programs.values()
        if program.parent is not None
        and program.costs
        and program.verdict is not None
        and program.verdict.decision != Decision.DISCARD
    ]
    ranked = sorted((promise(study, program, noise), index) for index, program in enumerate(standing))
    return [standing[index] for _, index in ranked]


def _leaders(study: StudyState) -> list[Program]:
    """Those that lead or led and were not refuted, where they lack seeds; what leads now comes first."""
    line = (study.programs[name] for name in reversed(study.lineage))
    return [program for program in line if not is_kept(program) and _seeds(program) < LEADER_SEEDS]


def _second_looks(study: StudyState) -> list[str]:
    """Contenders with few seeds that may still be the best, most promising first. One at a time for each."""
    noise, incumbent = study_noise(study), study.incumbent
    if noise is None or incumbent is None:
        return []
    return [
        program.name
        for program in contenders(study)
        if not program.open_trials and len(program.costs) < MOST_SEEDS and not is_kept(program)
        if program is incumbent or mass_below_zero(difference(study, program, incumbent, noise)) >= STILL_BEST
    ]


def _seeds(program: Program) -> int:
    return len(program.costs) + sum(not trial.claim.finals for trial in program.open_trials)
