"""What was odd about an attempt, for its record. Only work beyond the budget costs it its score."""

import contextlib
import re

from swarm.execution.evidence import Evidence
from swarm.trial.contract import Phase
from swarm.trial.files import read_json

BEYOND_BUDGET = ("over_budget", "long_predict")  # work that others did not have: no score
OVER_BUDGET_FACTOR = 1.25  # of what the training itself says it has used
STEPS_PER_BATCH, WARM_UP_STEPS = 2, 20  # of one optimiser; a budget in samples pays for each image once
RUNG_LAG, RUNG_LAG_S = 0.1, 0.5  # a rung is left when about that share of the training's time has passed
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
        "long_predict": found.predicted_too_long,
        "odd_rungs": has_odd_rungs(found),
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
        steps = train.off_clock_steps
        off = f", took {steps} optimiser steps off the clock" if steps else ""
        claimed = train.samples if terms.budget.kind == "samples" else train.training_seconds
        limit_s = found.train_limit_s
        own_s = found.own_s(Phase.TRAIN)
        counted = "" if limit_s is None else f", and took {own_s:.1f} CPU seconds (limit {limit_s:.1f})"
        if limit_s is not None and (compiled_s := train.compile_seconds or 0.0) > 0:
            counted += f", about {compiled_s:.0f} s of it for compiling, which is on the budget of a CPU"
        sentences.append(
            f"over_budget: train reports {claimed} of {budget}{off}{counted}: let clock.batches decide when to stop, "
            "and work neither before it nor after it, nor in another thread or process"
        )
    if "long_predict" in flags:
        took_s, unit = found.own_s(Phase.PREDICT), "CPU seconds" if terms.device == "cpu" else "seconds"
        again_s, limit_s = found.own_s(Phase.REPEAT), found.predict_limit_s(terms.images[Phase.PREDICT])
        sentences.append(
            f"long_predict: {took_s:.1f} {unit} in predict (limit {limit_s:.1f}, by what an image costs in training), "
            f"{again_s:.1f} in repeat (limit {found.predict_limit_s(terms.images[Phase.REPEAT]):.1f}): "
            "make the network smaller or quicker to build, or pass each image fewer times"
        )
    return "; ".join(sentences)


def has_odd_rungs(found: Evidence) -> bool:
    """Whether what was left at the rungs came at other times than a training comes by them: then it says nothing."""
    train = next((phase for phase in found.result.phases if phase.name == Phase.TRAIN), None)
    if train is None or train.ending != "ok" or not train.rungs:
        return False
    whole = train.own_cpu_s if found.terms.device == "cpu" else train.own_s
    came = ((percent, cpu_s if found.terms.device == "cpu" else wall_s) for percent, cpu_s, wall_s in train.rungs)
    return any(abs(seconds - whole * percent / 100) > max(RUNG_LAG * whole, RUNG_LAG_S) for percent, seconds in came)


def _trained_too_long(found: Evidence) -> bool:
    """By the CPU time that the supervisor has counted, or by the training's own words."""
    train, budget = found.train, found.terms.budget
    if train.off_clock_steps > 0:
        return True
    if found.train_limit_s is not None and found.own_s(Phase.TRAIN) > found.train_limit_s:
        return True
    if budget.kind == "samples":  # the last step begins within the budget
        last = (train.samples or 0) / max(1, train.steps or 1)
        beyond = train.samples is not None and train.samples - last >= budget.amount
        return beyond or train.optimizer_steps > STEPS_PER_BATCH * (train.steps or 0) + WARM_UP_STEPS
    return train.training_seconds is not None and train.training_seconds > OVER_BUDGET_FACTOR * budget.amount


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
