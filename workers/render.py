"""A briefing as the text that a language model reads: bounded, with everything that was written by others as data.

Templates are files in `workers/prompts/`. Records become one JSON line each, with control and direction characters
removed and every field cut to a limit, so that no text of a record can leave its line or pretend to be a heading. What
this does not promise is that a model ignores what such a text says; the power of an answer is limited elsewhere.

Sizes are estimated as four characters a token (no tokenizer works offline for every model).
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Literal

from swarm.errors import SwarmError
from swarm.program import constants
from swarm.program.families import FAMILIES
from swarm.records import Scalar
from workers.briefing import Attempt, Briefing, ProgramView

CHARS_PER_TOKEN = 4
DEFAULT_MAX_TOKENS = 12_000
TOO_LONG_REST_S = 600.0  # of a model for which the program is too long: another incumbent may be shorter
MAX_RECORDS = 40
MAX_LISTED = 20
MAX_DESCRIPTION = 240
MAX_WORD = 60
MAX_PROGRAM_TEXT = 6_000
MAX_REFUSAL = 600

Reply = Literal["envelope", "schema", "files"]

_SIZES = (*((size, False) for size in (MAX_RECORDS, 30, 20, 12, 6, 3)), *((size, True) for size in (6, 3, 0)))

_PROMPTS = Path(__file__).parent / "prompts"


class PromptTooLong(SwarmError):
    """Not even the rules, the person's words and the program fit."""


@dataclass(frozen=True, slots=True)
class Prompt:
    system: str
    user: str
    tokens: int  # estimated, of both
    shown: tuple[str, ...]  # ids of the records in it


def render(briefing: Briefing, *, reply: Reply = "envelope", max_tokens: int = DEFAULT_MAX_TOKENS) -> Prompt:
    """The messages of one turn, at most `max_tokens` long by estimate.

    Shows at most 40 records, the nearest to the incumbent first; if they do not fit, the furthest are left out, then
    what was tried of each constant, the findings and the diagnosis, and the last records at the end. The program is
    always whole, because blocks must quote it. Raises PromptTooLong when it alone is too long.
    """
    system = _fill("system", editable=briefing.editable, reply=_reply(reply, briefing.editable))
    ranked = _ranked(briefing)[:MAX_RECORDS]
    for size, brief in _SIZES:
        shown = ranked[:size]
        user = _user(briefing, shown, listed=len(shown) // 3 if brief else min(MAX_LISTED, 2 * len(shown)), brief=brief)
        tokens = estimate_tokens(system) + estimate_tokens(user)
        if tokens <= max_tokens:
            return Prompt(system, user, tokens, tuple(attempt.trial_id for attempt in shown))
    raise PromptTooLong(
        f"the prompt is about {tokens} tokens without any record, the limit is {max_tokens}: "
        f"{briefing.editable} has {len(briefing.incumbent.source)} characters. Raise the limit or shorten the file."
    )


def repair_text(reason: str, editable: str) -> str:
    return _fill("repair", reason=reason[:4000], editable=editable)


def whole_file_text(reason: str, editable: str) -> str:
    return _fill("whole_file", reason=reason[:4000], editable=editable)


def estimate_tokens(text: str) -> int:
    return -(-len(text) // CHARS_PER_TOKEN)


def clean(text: str, limit: int) -> str:
    """One line without control, format (direction, zero width) and unassigned characters, at most `limit` long."""
    spaced = re.sub(r"\s+", " ", text[: 4 * limit + 200])
    kept = "".join(char for char in spaced if not unicodedata.category(char).startswith("C")).strip()
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"


def _fill(name: str, **values: str) -> str:
    text = (_PROMPTS / f"{name}.md").read_text(encoding="utf-8")
    return Template(text).substitute(values).strip() + "\n"


def _reply(reply: Reply, editable: str) -> str:
    families = ", ".join(FAMILIES)
    if reply == "files":
        return _fill("reply_files", families=families, editable=editable)
    return _fill(f"reply_{reply}", families=families)


def _user(briefing: Briefing, shown: Sequence[Attempt], *, listed: int, brief: bool) -> str:
    ids = {attempt.trial_id for attempt in shown}
    in_order = [attempt for attempt in briefing.attempts if attempt.trial_id in ids]
    kept = [a for a in briefing.attempts if a.outcome in ("kept", "leading")]
    refuted = [a for a in briefing.attempts if a.outcome == "discarded" and a.trial_id not in ids]
    failed = [a for a in briefing.attempts if a.outcome == "failed"]
    return _fill(
        "briefing",
        program=briefing.program_text.strip()[:MAX_PROGRAM_TEXT],
        study=_study(briefing, brief),
        noise=_noise(briefing.sigma),
        memory=_memory(briefing),
        regions="Left out: too long." if brief else _lines(_regions(briefing)) or "No constant is declared.",
        kept=_newest(kept, listed) or "Nothing yet.",
        refuted=_newest(refuted, listed) or "Nothing yet.",
        failed=_newest(failed, listed) or "Nothing.",
        records=_lines(map(_record, in_order)) or "None.",
        findings="Left out: too long." if brief else _quoted(briefing.findings),
        steering="\n".join(f"- {clean(line, MAX_DESCRIPTION)}" for line in briefing.steering) or "None.",
        editable=briefing.editable,
        current=_program(briefing.incumbent),
        source=_fenced(briefing.incumbent.source),
        turn=_turn(briefing),
    )


def _ranked(briefing: Briefing) -> list[Attempt]:
    """The nearest first, then what runs now (so that nobody repeats it), then the newest."""
    rank = {trial_id: place for place, trial_id in enumerate(briefing.nearest)}
    newest_first = briefing.attempts[::-1]
    return sorted(newest_first, key=lambda a: (rank.get(a.trial_id, len(rank)), a.outcome != "running"))


def _study(briefing: Briefing, brief: bool) -> str:
    lines = [f"The metric is {briefing.metric}, lower is better."]
    if briefing.left is None:
        lines.append(
            f"The current program is the incumbent, the best that the study has: {_program(briefing.incumbent)}."
        )
    else:
        left = next((_program(view) for view in briefing.alternatives if view.trial_id == briefing.left), briefing.left)
        lines.append(
            f"The search around the incumbent ({left}) has stalled: the current program is of another lineage."
        )
    if briefing.budget is not None:
        lines.append(f"One training may use {briefing.budget.amount:g} {briefing.budget.kind}.")
    running = sum(attempt.outcome == "running" for attempt in briefing.attempts)
    lines.append(f"Workers that share the device: {briefing.workers}. Trials claimed or running now: {running}.")
    lines.append(f"You are the {briefing.role}: {_ROLES[briefing.role]}")
    if briefing.diagnosis and not brief:
        lines.append(f"Diagnosis of the search so far: {clean(briefing.diagnosis, 1000)}")
    if briefing.cooled_families:
        cooled = ", ".join(clean(family, MAX_WORD) for family in briefing.cooled_families)
        lines.append(f"These families failed repeatedly and rest now: {cooled}. Choose another.")
    return "\n".join(lines)


_ROLES = {
    "climber": "refine what is known to help, in small well-founded steps.",
    "jumper": "try kinds of change that were not tried yet.",
}


def _program(program: ProgramView) -> str:
    if program.loss is None:
        return f"{program.trial_id}, no result yet"
    runs = "1 run" if program.replicates == 1 else f"{program.replicates} runs"
    return f"{program.trial_id}, loss {program.loss:.4f} over {runs}"


def _noise(sigma: float | None) -> str:
    if sigma is None:
        return "Not measured yet: no difference between two runs means anything so far."
    return (
        f"Two runs of the same program differ by a standard deviation of {sigma:.4f}. A difference below {sigma:.4f} "
        f"is noise, one of {2 * sigma:.4f} is a hint, {3 * sigma:.4f} and more is likely real. Aim for the last kind."
    )


def _memory(briefing: Briefing) -> str:
    lines = []
    if briefing.memory_limit_mib is not None:
        lines.append(f"The limit is {briefing.memory_limit_mib} MiB.")
    if briefing.incumbent.peak_mib is not None:
        lines.append(f"The current program peaks at {briefing.incumbent.peak_mib} MiB.")
    peaks = [a.peak_mib for a in briefing.attempts if a.peak_mib is not None and a.outcome != "failed"]
    if peaks:
        lines.append(f"The {len(peaks)} measured changes peak between {min(peaks)} and {max(peaks)} MiB.")
    too_big = [a.trial_id for a in briefing.attempts if a.reason in ("out_of_memory", "infeasible")]
    if too_big:
        lines.append(f"Did not fit: {', '.join(too_big[-MAX_LISTED:])} (see Failed).")
    return " ".join(lines) or "Nothing measured yet."


MAX_TRIED = 6


def _regions(briefing: Briefing) -> Iterator[dict[str, object]]:
    spaces = _spaces(briefing.incumbent.source)
    for name, now in briefing.incumbent.constants.items():
        yield _region(briefing, name, now, spaces.get(name))


def _region(briefing: Briefing, name: str, now: Scalar, space: str | None) -> dict[str, object]:
    """Where one constant was tried: its range, and the effect of the values nearest to the present one."""
    tried = [
        (attempt.changed[name][1], attempt.delta, attempt.outcome)
        for attempt in briefing.attempts
        if name in attempt.changed and attempt.changed[name][1] is not None
    ]
    numbers = [value for value, _, _ in tried if isinstance(value, int | float) and not isinstance(value, bool)]
    entry: dict[str, object] = {"constant": clean(name, MAX_WORD), "now": _scalar(now)}
    if space is not None:
        entry["search"] = space
    if numbers:
        entry["tried_range"] = [min(numbers), max(numbers)]
    if tried:
        nearest = sorted(tried, key=lambda item: _distance(item[0], now))[:MAX_TRIED]
        entry["tried"] = len(tried)
        entry["effects"] = [
            [_scalar(value), _round(delta) if delta is not None else end] for value, delta, end in nearest
        ]
    return entry


def _spaces(source: str) -> dict[str, str]:
    spaces = {}
    for name, constant in constants.parse(source).items():
        match constant.space:
            case constants.Log(low, high):
                spaces[name] = f"log({low:g}, {high:g})"
            case constants.Linear(low, high):
                spaces[name] = f"linear({low:g}, {high:g})"
            case constants.Int(low, high):
                spaces[name] = f"int({low}, {high})"
            case constants.Choice(values):
                spaces[name] = f"one of {json.dumps([_scalar(value) for value in values[:12]])}"
    return spaces


def _distance(value: Scalar | None, now: Scalar) -> float:
    numeric = isinstance(value, int | float) and isinstance(now, int | float)
    return abs(float(value) - float(now)) if numeric else 0.0  # type: ignore[arg-type]


def _record(attempt: Attempt) -> dict[str, object]:
    changed = {
        clean(name, MAX_WORD): [_scalar(old), _scalar(new)] for name, (old, new) in list(attempt.changed.items())[:12]
    }
    entry: dict[str, object] = {
        "id": attempt.trial_id,
        "by": clean(attempt.agent_id, MAX_WORD),
        "parent": attempt.parent,
        "operator": clean(attempt.operator, MAX_WORD),
        "family": clean(attempt.family, MAX_WORD),
        "description": clean(attempt.description, MAX_DESCRIPTION),
        "changed": changed,
        "outcome": attempt.outcome,
        "reason": attempt.reason,
        "loss": _round(attempt.loss),
        "delta": _round(attempt.delta),
        "runs": attempt.replicates,
        "peak_mib": attempt.peak_mib,
    }
    return {key: value for key, value in entry.items() if value not in (None, {}, 0)}


def _newest(attempts: Sequence[Attempt], count: int) -> str:
    return _lines(map(_brief_record, attempts[-count:] if count else ()))


def _brief_record(attempt: Attempt) -> dict[str, object]:
    brief = _record(attempt)
    brief["description"] = clean(attempt.description, MAX_DESCRIPTION // 2)
    return {key: brief[key] for key in ("id", "description", "changed", "delta", "reason", "peak_mib") if key in brief}


def _scalar(value: Scalar | None) -> Scalar | None:
    return clean(value, MAX_WORD) if isinstance(value, str) else value


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


def _lines(entries: Iterable[dict[str, object]]) -> str:
    return "\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)


def _quoted(texts: Sequence[str]) -> str:
    return "\n".join(json.dumps(clean(text, MAX_DESCRIPTION), ensure_ascii=False) for text in texts) or "None."


def _fenced(source: str) -> str:
    """In a fence that the text cannot close: one backtick longer than its longest run of them."""
    longest = max((len(run) for run in re.findall(r"`+", source)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}python\n{source.rstrip()}\n{fence}"


def _turn(briefing: Briefing) -> str:
    turn = "Propose one change to the current program."
    if briefing.refusal:
        refusal = json.dumps(clean(briefing.refusal, MAX_REFUSAL), ensure_ascii=False)
        turn = f"Your last proposal was refused: {refusal}\nPropose another change to the current program."
    if briefing.attempts_left <= 1:
        turn += " This is your last turn for this slot."
    return turn
