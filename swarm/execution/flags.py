"""What was odd about an attempt, for its record. Only work beyond the budget costs it its score."""

import contextlib
import re

from swarm.execution.evidence import Evidence
from swarm.trial.contract import Phase
from swarm.trial.folder import read_json

BEYOND_BUDGET = ("over_budget", "long_predict")  # work that others did not have: no score
OVER_BUDGET_FACTOR = 1.25
PREDICT_SHARE = 0.25  # of the budget: more work than this in `predict` is no mere prediction
UNACCOUNTED_S, UNACCOUNTED_SHARE = 2.0, 0.1
GATE_S, GATE_SHARE = 30.0, 0.25  # seconds and share of the training for which a trial may keep a GPU's gate closed
HONEST_DIFFERENCE = 0.01  # relative; a candidate's own word about its loss may round
_CLAIM = re.compile(r"^\s*val(?:idation)?_loss\s*[:=]\s*([-+0-9.eE]+)\s*$", re.MULTILINE)
_DENIED = re.compile(r"Permission denied|Operation not permitted|Invalid cross-device link")
_PRIED = re.compile(r"/proc/(?:self|\d+)/(?:fd|environ|mem|maps|root|cwd)\b")


def flags_of(found: Evidence) -> tuple[str, ...]:
    logs = [found.folder.log_text(phase) for phase in (Phase.TRAIN, Phase.PREDICT)]
    rest, phases = found.unaccounted_s, found.result.phases
    odd = {
        "cap_lifted": found.train.cap_lifted,
        "over_budget": _trained_too_long(found),
        "long_predict": _worked_longer(found, Phase.PREDICT, PREDICT_SHARE),
        "clock_mismatch": rest is not None and abs(rest) > UNACCOUNTED_S + UNACCOUNTED_SHARE * found.wall_s,
        "denied": any(_DENIED.search(log) for log in logs),
        "pried": any(_PRIED.search(log) for log in logs),
        "own_seed": found.train.own_seed,
        "left_processes": any(phase.left_processes for phase in phases),
        "hoarded_gate": any(phase.gate_held_s > GATE_S + GATE_SHARE * phase.seconds for phase in phases),
        "not_alone": not found.train.meter.measured_alone,
        "drift": found.train.meter.drift_flag,
        "tta": _passes_per_image(found) > 1.0,
    }
    return tuple(name for name, is_odd in odd.items() if is_odd)


def flags_of_score(found: Evidence, loss: float) -> tuple[str, ...]:
    """What only shows beside the scorer's number."""
    claims = ("self_report",) if _claims_otherwise(found.folder.log_text(Phase.TRAIN), loss) else ()
    return claims if found.reported else (*claims, "bad_report")


def explain_excess(found: Evidence, flags: tuple[str, ...]) -> str:
    """For an attempt with a flag of BEYOND_BUDGET: what it used, what it was allowed, and what to change."""
    terms, train = found.terms, found.train
    budget = f"{terms.budget.amount:g} {terms.budget.kind}"
    sentences = []
    if "over_budget" in flags:
        claimed = train.samples if terms.budget.kind == "samples" else train.training_seconds
        limit_s = terms.cpu_limit_s(OVER_BUDGET_FACTOR)
        counted = "" if limit_s is None else f", {found.cpu_s(Phase.TRAIN):.1f} CPU seconds (limit {limit_s:.1f})"
        sentences.append(
            f"over_budget: train reports {claimed} of {budget}{counted}: "
            "let clock.batches decide when to stop, and train in no other thread or process"
        )
    if "long_predict" in flags:
        limit_s = terms.cpu_limit_s(PREDICT_SHARE)
        sentences.append(
            f"long_predict: {found.cpu_s(Phase.PREDICT):.1f} CPU seconds in predict (limit {limit_s:.1f}: "
            f"{PREDICT_SHARE:.0%} of {budget}, and {terms.cpu_limit_s(0):g}): "
            "make the network smaller, or pass each image fewer times"
        )
    return "; ".join(sentences)


def _trained_too_long(found: Evidence) -> bool:
    """By the supervisor's measure of CPU time, or by the training's own words."""
    train, budget = found.train, found.terms.budget
    if budget.kind == "samples":  # the last step begins within the budget
        return train.samples is not None and train.samples - train.samples / max(1, train.steps or 1) >= budget.amount
    if train.training_seconds is not None and train.training_seconds > OVER_BUDGET_FACTOR * budget.amount:
        return True
    return _worked_longer(found, Phase.TRAIN, OVER_BUDGET_FACTOR)


def _worked_longer(found: Evidence, phase: Phase, share: float) -> bool:
    limit_s = found.terms.cpu_limit_s(share)
    return limit_s is not None and found.cpu_s(phase) > limit_s


def _claims_otherwise(log: str, loss: float) -> bool:
    """Whether the program printed a validation loss of its own that is not the scorer's."""
    claims: list[float] = []
    for match in _CLAIM.finditer(log):
        with contextlib.suppress(ValueError):
            claims.append(float(match[1]))
    return any(abs(claim - loss) > HONEST_DIFFERENCE * abs(loss) for claim in claims)


def _passes_per_image(found: Evidence) -> float:
    passes = (read_json(found.folder.predict_report) or {}).get("passes_per_image")
    return float(passes) if isinstance(passes, int | float) else 0.0
