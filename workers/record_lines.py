"""Records as lines for a prompt: one JSON value a line, every field cut: no text of others can leave its line."""

import json
import re
from collections.abc import Iterable, Sequence

from swarm.records import one_line
from swarm.target.objective import Objective
from workers.briefing import Attempt
from workers.briefing.values import Shown
from workers.regions import MAX_WORD, rounded, scalar

MAX_DESCRIPTION = 200
MAX_BRIEF = 100
MAX_FAILURE = 240
MAX_CHANGED = 8


def record(attempt: Attempt, objective: Objective, *, memory: bool) -> dict[str, object]:
    """Everything that a model is told about one attempt. Its parent's result is in the difference to it; `memory` says
    whether the device has one of its own, of which there is a limit."""
    entry: dict[str, object] = {
        "id": attempt.trial_id,
        "parent": attempt.parent,
        "family": one_line(attempt.family, MAX_WORD),
        "description": one_line(attempt.description, MAX_DESCRIPTION),
        "changed": _changed(attempt),
        "standing": attempt.standing,
        objective.key: rounded(attempt.cost, objective),
        "delta": rounded(attempt.delta, objective),
        "runs": attempt.replicates,
        "peak_mib": attempt.peak_mib if memory else None,
        **_failure(attempt),
    }
    return _without_nothing(entry)


def brief_record(attempt: Attempt, objective: Objective) -> dict[str, object]:
    entry: dict[str, object] = {
        "id": attempt.trial_id,
        "description": one_line(attempt.description, MAX_BRIEF),
        "changed": _changed(attempt),
        "standing": attempt.standing if attempt.helped else None,
        "delta": rounded(attempt.delta, objective),
        **_failure(attempt),
    }
    return _without_nothing(entry)


def newest(attempts: Sequence[Attempt], count: int, objective: Objective) -> str:
    """The newest as brief records, oldest first, and how many older ones there are."""
    if not count and attempts:
        return f"{len(attempts)}, left out: too long."
    left_out = f"{len(attempts) - count} older ones are left out.\n" if len(attempts) > count else ""
    return left_out + lines(brief_record(attempt, objective) for attempt in attempts[-count:])


def lines(entries: Iterable[dict[str, object]]) -> str:
    return "\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)


def quoted(texts: Sequence[str], limit: int = MAX_DESCRIPTION) -> str:
    return "\n".join(json.dumps(one_line(text, limit), ensure_ascii=False) for text in texts)


def change(shown: Shown) -> str:
    return f"{shown.trial_id}:\n{fenced(shown.diff, 'diff')}"


def fenced(source: str, language: str = "python") -> str:
    """In a fence that the text cannot close: one backtick longer than its longest run of them."""
    longest = max((len(run) for run in re.findall(r"`+", source)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{source.rstrip()}\n{fence}"


def _changed(attempt: Attempt) -> dict[str, object]:
    pairs = list(attempt.changed.items())[:MAX_CHANGED]
    return {one_line(name, MAX_WORD): [scalar(old), scalar(new)] for name, (old, new) in pairs}


def _failure(attempt: Attempt) -> dict[str, object]:
    said = " | ".join(line.strip() for line in attempt.failure.splitlines() if line.strip())
    return {"reason": attempt.reason, "failure": said if len(said) <= MAX_FAILURE else f"... {said[-MAX_FAILURE:]}"}


def _without_nothing(entry: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in entry.items() if value not in (None, {}, 0, "")}
