"""The parts of a prompt that are computed from numbers: how the program runs, the noise, memory, and what is asked."""

import json
from collections.abc import Iterator

from swarm.records import one_line
from swarm.target.objective import Objective
from workers.briefing import Attempt, Briefing, ProgramView
from workers.record_lines import MAX_DESCRIPTION, change, fenced

MAX_REFUSAL = 600
MAX_DIFF = 6_000
MAX_LISTED = 20

ROLES = {
    "climber": "refine what is known to help, in small well-founded steps.",
    "jumper": "try kinds of change that were not tried yet.",
}


def program(view: ProgramView, objective: Objective) -> str:
    if view.cost is None:
        return f"{view.trial_id}, no result yet"
    runs = "1 run" if view.replicates == 1 else f"{view.replicates} runs"
    return f"{view.trial_id}, {objective.name} {objective.text(view.cost)} over {runs}"


def noise(briefing: Briefing) -> str:
    sigma, size = briefing.sigma, briefing.objective.size
    if sigma is None:
        return "The noise is not measured yet: no difference between two runs means anything so far."
    return (
        f"Two runs of the same program differ by a standard deviation of {size(sigma)}: {size(2 * sigma)} is a hint, "
        f"{size(3 * sigma)} and more is likely real. Aim for that."
    )


def facts(briefing: Briefing) -> str:
    """How the current program ran; of one that crashed, how its parent did."""
    told = list(_facts(briefing))
    whose = "" if briefing.crash is None else "Of its parent: "
    return whose + " ".join(told) if told else "It has no result yet."


def _facts(briefing: Briefing) -> Iterator[str]:
    known = briefing.facts
    if known.steps is not None and known.samples is not None:
        rate = f", {known.images_per_s:.4g} a second as if alone" if known.images_per_s else ""
        yield f"{known.steps} steps, {known.samples} images{rate}."
    if known.params_m is not None:
        yield f"{known.params_m:.3g} million parameters."
    if known.compilation:
        yield f"Compiled: {one_line(known.compilation, 80)}."
    if known.top1 is not None:
        yield f"Top-1 {known.top1:.4f}."
    if known.calibrated_loss is not None:
        yield f"Its loss at the best temperature is {known.calibrated_loss:.4f}."
    if known.curve:
        points = ", ".join(f"{loss:.4g} at {progress:.0%}" for progress, loss in known.curve)
        yield f"Training loss by the budget spent: {points}."
    if known.rungs:
        points = ", ".join(f"{loss:.4g} at {progress:.0%}" for progress, loss in known.rungs)
        yield f"Loss on held-out images on the way: {points}."
    yield from _memory(briefing)


def _memory(briefing: Briefing) -> Iterator[str]:
    """Nothing without a device of its own memory: on a CPU nobody runs short of it."""
    if briefing.memory_limit_mib is None:
        return
    yield f"The device has {briefing.memory_limit_mib} MiB, shared with other trainings; what needs more fails."
    if briefing.incumbent.peak_mib is not None:
        yield f"The program peaks at {briefing.incumbent.peak_mib} MiB."
    too_big = [a.trial_id for a in briefing.attempts if a.reason in ("out_of_memory", "infeasible")]
    if too_big:
        yield f"Did not fit: {', '.join(too_big[-MAX_LISTED:])}."


def turn(briefing: Briefing, asking: str) -> str:
    """What is asked now, after what became of the last answer."""
    told = []
    if briefing.refusal:
        refusal = json.dumps(one_line(briefing.refusal, MAX_REFUSAL), ensure_ascii=False)
        told.append(f"Your last proposal was refused: {refusal}")
        if briefing.refused:
            told.append(f"It was this change:\n\n{fenced(briefing.refused, 'diff')}\n")
    if briefing.looked_at is not None:
        told.append(f"You asked to see a change. This is {change(briefing.looked_at)}\n")
    asked = _asked(briefing, "another" if briefing.refusal else "one")
    told.append(f"{asked} This is your last turn for this slot." if briefing.attempts_left <= 1 else asked)
    if briefing.may_ask:
        told.append(f"\n{asking}")
    return "\n".join(told)


def _asked(briefing: Briefing, which: str) -> str:
    """A change of the model's own, the repair of its last one, or two changes of others in one program."""
    if (crash := briefing.crash) is not None:
        said = "\n".join(json.dumps(one_line(line, 400), ensure_ascii=False) for line in crash.failure.splitlines())
        return (
            f"Your program {crash.trial_id} failed in its own code. It is the current program above, and this is what "
            f"it said:\n{said}\nThis is what you had changed:\n\n{fenced(crash.diff, 'diff')}\n\nSend the smallest "
            "change that mends it and keeps its idea. You are asked once; say in the hypothesis what was wrong."
        )
    conflict = briefing.conflict
    if conflict is None:
        return f"Propose {which} change to the current program."
    said = json.dumps(one_line(conflict.description, MAX_DESCRIPTION), ensure_ascii=False)
    return (
        f"The change of {conflict.theirs} helped its own parent and is not in the current program. Both touch the same "
        f"lines, so they could not be merged by line. What it says of itself:\n{said}\nThis is the change:\n\n"
        f"{fenced(conflict.diff[:MAX_DIFF], 'diff')}\n\n"
        "Propose the current program with what that change is for worked into it, and nothing else."
    )


def running(attempt: Attempt) -> dict[str, object]:
    return {
        "id": attempt.trial_id,
        "by": one_line(attempt.agent_id, 60),
        "family": one_line(attempt.family, 60),
        "description": one_line(attempt.description, MAX_DESCRIPTION),
    }
