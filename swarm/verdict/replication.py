"""Which program deserves another seed, within the share of trials that replicates may take."""

from fractions import Fraction

from swarm.records import Decision, Operator, VerdictReached
from swarm.study.state import Program, StudyState
from swarm.verdict.decisions import CONFIRMED_SEEDS, TIE_SIGMAS, reference

REPLICATE_SHARE = Fraction(1, 5)
FIRST_REPLICATES = 2
MOST_SEEDS = 16
INCUMBENT_SEEDS = 8
SECOND_CHANCE = 0.4
SPARE_CREDIT = 2


def wants_replicate(study: StudyState, program: Program) -> bool:
    """Would another seed of this program decide something? Says nothing of whether the study can afford it.

    Yes for a provisional program until it is confirmed or has had 16 seeds, for an unconfirmed incumbent until it has
    8 (all others are compared with it, and its first run was lucky), once for a program that looked no worse than its
    parent while credit is spare, and for a shorter program that is not worse until it has the three seeds of a keep.
    No while one of its trials is still open.
    """
    verdict = program.verdict
    if verdict is None or program.open_trials or len(program.costs) >= MOST_SEEDS:
        return False
    return _contends(study, program, spare=replicate_credit(study) > SPARE_CREDIT)


def replicates_owed(study: StudyState) -> list[str]:
    """Names of the programs to run again now, most urgent first, no more than the study can afford.

    By probability of being better: a study cannot afford every doubt, and the best bets finish first. A contender's
    parent takes its turn when it has had fewer seeds: the error of a difference shrinks fastest when both sides have
    equally many.
    """
    owed: list[str] = []
    credit = replicate_credit(study)
    contenders = [p for p in study.programs.values() if _contends(study, p, spare=credit > SPARE_CREDIT)]
    for contender in sorted(contenders, key=_doubt):
        against = reference(study, contender)
        short = against is not None and _seeds(against) < _seeds(contender)
        chosen = against if short and against is not None else contender
        if not chosen.open_trials and len(chosen.costs) < MOST_SEEDS and chosen.name not in owed:
            owed.append(chosen.name)
    return owed[:credit]


def replicate_credit(study: StudyState) -> int:
    """How many replicates may be claimed now: at most a fifth of all trials after the noise floor, and two to begin."""
    claims = [trial.claim for trial in study.trials.values() if trial.claim.operator != Operator.BASELINE]
    spent = sum(claim.operator == Operator.REPLICATE for claim in claims)
    credit = 0
    while spent + credit + 1 <= max(FIRST_REPLICATES, int(REPLICATE_SHARE * (len(claims) + credit + 1))):
        credit += 1
    return credit


def _contends(study: StudyState, program: Program, *, spare: bool) -> bool:
    verdict = program.verdict
    if verdict is None or verdict.decision != Decision.INCONCLUSIVE:
        return False
    runs = len(program.costs)
    return (
        verdict.level == "provisional"
        or (program is study.incumbent and runs < INCUMBENT_SEEDS)
        or (runs == 1 and verdict.probability >= SECOND_CHANCE and spare)
        or (runs < CONFIRMED_SEEDS and _shorter_and_not_worse(study, program, verdict))
    )


def _shorter_and_not_worse(study: StudyState, program: Program, verdict: VerdictReached) -> bool:
    against = reference(study, program)
    shorter = against is not None and program.first.claim.source_lines < against.first.claim.source_lines
    return shorter and verdict.delta <= TIE_SIGMAS * verdict.sigma


def _doubt(program: Program) -> float:
    return 1.0 - program.verdict.probability if program.verdict is not None else 1.0


def _seeds(program: Program) -> int:
    return len(program.costs) + len(program.open_trials)
