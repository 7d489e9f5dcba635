"""How much of the proposals each arm gets: a table, and what the arm has gained so far."""

from collections.abc import Mapping, Sequence

from swarm.study.state import Program, StudyState
from swarm.verdict.plateau import proposals
from workers.dispatch.assignments import LLM, is_model
from workers.dispatch.stall import leads_or_kept

FLOOR = 0.10
PRIOR_TRIALS = 5  # an arm counts as average until it has had about this many trials

EMBEDDED: Mapping[str, float] = {"model-based": 0.50, "climb": 0.15, "library": 0.25, "recombine": 0.05}
WITH_MODEL: Mapping[str, float] = {"model-based": 0.30, "climb": 0.10, "library": 0.15, LLM: 0.30, "recombine": 0.05}


def arm_shares(study: StudyState, arms: Sequence[str]) -> dict[str, float]:
    """Shares that add up to 1.

    The table's share times what the arm gained per minute of device time against the average of all arms (shrunk
    towards it while the arm has few trials). No arm falls below 10 %, or below its share in the table if that is less.
    An arm that the table does not know gets the floor; several models begin with equal parts of the model's.
    """
    table = WITH_MODEL if any(map(is_model, arms)) else EMBEDDED
    models = sum(is_model(arm) for arm in arms)
    base = {arm: table[LLM] / models if is_model(arm) else table.get(arm, FLOOR) for arm in arms}
    rates = _relative_gains(study, arms)
    raw = _normalised({arm: base[arm] * rates[arm] for arm in arms})
    return _normalised({arm: max(raw[arm], min(FLOOR, base[arm])) for arm in arms})


def _relative_gains(study: StudyState, arms: Sequence[str]) -> dict[str, float]:
    """Gain per device minute of each arm, in units of the average. 1 for all while nothing was gained."""
    judged = [program for program in proposals(study) if not program.open_trials]
    minutes, gain = sum(map(_minutes, judged)), sum(map(_gain, judged))
    if minutes <= 0 or gain <= 0:
        return dict.fromkeys(arms, 1.0)
    average, prior = gain / minutes, PRIOR_TRIALS * minutes / len(judged)
    relative = {}
    for arm in arms:
        own = [program for program in judged if program.first.claim.arm == arm]
        rate = (sum(map(_gain, own)) + average * prior) / (sum(map(_minutes, own)) + prior)
        relative[arm] = rate / average
    return relative


def _gain(program: Program) -> float:
    """How much a program that leads or was kept lowered the cost of its parent."""
    verdict = program.verdict
    return max(0.0, -verdict.delta) if verdict is not None and leads_or_kept(program) else 0.0


def _minutes(program: Program) -> float:
    spans = [trial.seconds for trial in program.trials if trial.seconds is not None]
    return sum(end - start for start, end in spans) / 60


def _normalised(shares: Mapping[str, float]) -> dict[str, float]:
    total = sum(shares.values())
    return {arm: share / total for arm, share in shares.items()}
