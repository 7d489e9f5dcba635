"""A briefing as the text that a language model reads: bounded, with everything that was written by others as data.

Templates are files in `workers/prompts/`. Records become one JSON line each and every field is cut to a limit, so that
no text of a record can leave its line or pretend to be a heading. What this does not promise is that a model ignores
what such a text says; the power of an answer is limited elsewhere.

Sizes are estimated as four characters a token (no tokenizer works offline for every model).
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Literal

from swarm.errors import SwarmError
from swarm.program.families import FAMILIES
from swarm.records import one_line
from swarm.target.objective import Objective
from swarm.verdict.standing import Standing
from workers.briefing import Attempt, Briefing, ProgramView
from workers.regions import MAX_WORD, regions, rounded, scalar

CHARS_PER_TOKEN = 4
DEFAULT_MAX_TOKENS = 12_000
TOO_LONG_REST_S = 600.0  # of a model for which the program is too long: another incumbent may be shorter
MAX_RECORDS = 40
MAX_LISTED = 20
MAX_DESCRIPTION = 240
MAX_PROGRAM_TEXT = 6_000
MAX_REFUSAL = 600
MAX_DIFF = 6_000

Reply = Literal["envelope", "schema", "files"]

_SIZES = (*((size, False) for size in (MAX_RECORDS, 30, 20, 12, 6, 3)), *((size, True) for size in (6, 3, 0)))

_PROMPTS = Path(__file__).parent / "prompts"


class PromptTooLong(SwarmError):
    """Not even the rules, the person's words and the program fit: they are about `tokens` long."""

    def __init__(self, message: str, tokens: int) -> None:
        super().__init__(message)
        self.tokens = tokens


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
    expected = _prediction(briefing.objective)
    system = _fill("system", editable=briefing.editable, reply=_reply(reply, briefing, expected), **expected)
    ranked = _ranked(briefing)[:MAX_RECORDS]
    for size, brief in _SIZES:
        shown = ranked[:size]
        user = _user(briefing, shown, listed=len(shown) // 3 if brief else min(MAX_LISTED, 2 * len(shown)), brief=brief)
        tokens = estimate_tokens(system) + estimate_tokens(user)
        if tokens <= max_tokens:
            return Prompt(system, user, tokens, tuple(attempt.trial_id for attempt in shown))
    raise PromptTooLong(
        f"the prompt is about {tokens} tokens without any record, the limit is {max_tokens}: "
        f"{briefing.editable} has {len(briefing.incumbent.source)} characters. Raise the limit or shorten the file.",
        tokens,
    )


def smallest(briefing: Briefing, reply: Reply = "envelope") -> int:
    """Tokens of the shortest prompt that there is."""
    try:
        return render(briefing, reply=reply, max_tokens=1).tokens
    except PromptTooLong as error:
        return error.tokens


def repair_text(reason: str, editable: str) -> str:
    return _fill("repair", reason=reason[:4000], editable=editable)


def whole_file_text(reason: str, editable: str) -> str:
    return _fill("whole_file", reason=reason[:4000], editable=editable)


def estimate_tokens(text: str) -> int:
    return -(-len(text) // CHARS_PER_TOKEN)


def _fill(name: str, **values: str) -> str:
    text = (_PROMPTS / f"{name}.md").read_text(encoding="utf-8")
    return Template(text).substitute(values).strip() + "\n"


def _reply(reply: Reply, briefing: Briefing, expected: dict[str, str]) -> str:
    return _fill(f"reply_{reply}", families=", ".join(FAMILIES), editable=briefing.editable, **expected)


def _prediction(objective: Objective) -> dict[str, str]:
    """How to say what is expected of a change."""
    sign = ("positive", "0.01") if objective.maximized else ("negative", "-0.01")
    return {"objective": objective.name, "sign": sign[0], "example": sign[1]}


def _user(briefing: Briefing, shown: Sequence[Attempt], *, listed: int, brief: bool) -> str:
    ids = {attempt.trial_id for attempt in shown}
    in_order = [attempt for attempt in briefing.attempts if attempt.trial_id in ids]
    objective = briefing.objective
    helped = [a for a in briefing.attempts if a.helped]
    refuted = [a for a in briefing.attempts if a.standing is Standing.DISCARDED and a.trial_id not in ids]
    failed = [a for a in briefing.attempts if a.failed]
    return _fill(
        "briefing",
        program=briefing.program_text.strip()[:MAX_PROGRAM_TEXT],
        study=_study(briefing, brief),
        noise=_noise(briefing),
        memory=_memory(briefing),
        regions="Left out: too long." if brief else _lines(regions(briefing)) or "No constant is declared.",
        helped=_newest(helped, listed, objective) or "Nothing yet.",
        refuted=_newest(refuted, listed, objective) or "Nothing yet.",
        failed=_newest(failed, listed, objective) or "Nothing.",
        records=_lines(_record(attempt, objective) for attempt in in_order) or "None.",
        findings="Left out: too long." if brief else _quoted(briefing.findings),
        steering="\n".join(f"- {one_line(line, MAX_DESCRIPTION)}" for line in briefing.steering) or "None.",
        editable=briefing.editable,
        current=_program(briefing.incumbent, objective),
        source=_fenced(briefing.incumbent.source),
        turn=_turn(briefing),
    )


def _ranked(briefing: Briefing) -> list[Attempt]:
    """The nearest first, then what runs now (so that nobody repeats it), then the newest."""
    rank = {trial_id: place for place, trial_id in enumerate(briefing.nearest)}
    newest_first = briefing.attempts[::-1]
    return sorted(newest_first, key=lambda a: (rank.get(a.trial_id, len(rank)), not a.running))


def _study(briefing: Briefing, brief: bool) -> str:
    objective = briefing.objective
    lines = [f"The objective is the {objective.label}: {objective.better} is better."]
    if briefing.left is None:
        current = _program(briefing.incumbent, objective)
        lines.append(f"The current program is the incumbent, the best that the study has: {current}.")
    else:
        views = (view for view in briefing.alternatives if view.trial_id == briefing.left)
        left = next((_program(view, objective) for view in views), briefing.left)
        lines.append(
            f"The search around the incumbent ({left}) has stalled: the current program is of another lineage."
        )
    if briefing.budget is not None:
        lines.append(f"One training may use {briefing.budget.amount:g} {briefing.budget.kind}.")
    running = sum(attempt.running for attempt in briefing.attempts)
    lines.append(f"Workers that share the device: {briefing.workers}. Trials claimed or running now: {running}.")
    lines.append(f"You are the {briefing.role}: {_ROLES[briefing.role]}")
    if briefing.diagnosis and not brief:
        lines.append(f"Diagnosis of the search so far: {one_line(briefing.diagnosis, 1000)}")
    if briefing.cooled_families:
        cooled = ", ".join(one_line(family, MAX_WORD) for family in briefing.cooled_families)
        lines.append(f"These families failed repeatedly and rest now: {cooled}. Choose another.")
    return "\n".join(lines)


_ROLES = {
    "climber": "refine what is known to help, in small well-founded steps.",
    "jumper": "try kinds of change that were not tried yet.",
}


def _program(program: ProgramView, objective: Objective) -> str:
    if program.cost is None:
        return f"{program.trial_id}, no result yet"
    runs = "1 run" if program.replicates == 1 else f"{program.replicates} runs"
    return f"{program.trial_id}, {objective.name} {objective.text(program.cost)} over {runs}"


def _noise(briefing: Briefing) -> str:
    sigma, size = briefing.sigma, briefing.objective.size
    if sigma is None:
        return "Not measured yet: no difference between two runs means anything so far."
    return (
        f"Two runs of the same program differ by a standard deviation of {size(sigma)}. A difference below "
        f"{size(sigma)} is noise, one of {size(2 * sigma)} is a hint, {size(3 * sigma)} and more is likely real. Aim "
        "for the last kind."
    )


def _memory(briefing: Briefing) -> str:
    lines = []
    if briefing.memory_limit_mib is not None:
        lines.append(f"The limit is {briefing.memory_limit_mib} MiB.")
    if briefing.incumbent.peak_mib is not None:
        lines.append(f"The current program peaks at {briefing.incumbent.peak_mib} MiB.")
    peaks = [a.peak_mib for a in briefing.attempts if a.peak_mib is not None and not a.failed]
    if peaks:
        lines.append(f"The {len(peaks)} measured changes peak between {min(peaks)} and {max(peaks)} MiB.")
    too_big = [a.trial_id for a in briefing.attempts if a.reason in ("out_of_memory", "infeasible")]
    if too_big:
        lines.append(f"Did not fit: {', '.join(too_big[-MAX_LISTED:])} (see Failed).")
    return " ".join(lines) or "Nothing measured yet."


def _record(attempt: Attempt, objective: Objective) -> dict[str, object]:
    changed = {
        one_line(name, MAX_WORD): [scalar(old), scalar(new)] for name, (old, new) in list(attempt.changed.items())[:12]
    }
    entry: dict[str, object] = {
        "id": attempt.trial_id,
        "by": one_line(attempt.agent_id, MAX_WORD),
        "parent": attempt.parent,
        "operator": one_line(attempt.operator, MAX_WORD),
        "family": one_line(attempt.family, MAX_WORD),
        "description": one_line(attempt.description, MAX_DESCRIPTION),
        "changed": changed,
        "standing": attempt.standing,
        "reason": attempt.reason,
        objective.key: rounded(attempt.cost, objective),
        "delta": rounded(attempt.delta, objective),
        "runs": attempt.replicates,
        "peak_mib": attempt.peak_mib,
    }
    return {key: value for key, value in entry.items() if value not in (None, {}, 0)}


def _newest(attempts: Sequence[Attempt], count: int, objective: Objective) -> str:
    return _lines(_brief_record(attempt, objective) for attempt in (attempts[-count:] if count else ()))


def _brief_record(attempt: Attempt, objective: Objective) -> dict[str, object]:
    brief = _record(attempt, objective)
    brief["description"] = one_line(attempt.description, MAX_DESCRIPTION // 2)
    return {key: brief[key] for key in ("id", "description", "changed", "delta", "reason", "peak_mib") if key in brief}


def _lines(entries: Iterable[dict[str, object]]) -> str:
    return "\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)


def _quoted(texts: Sequence[str]) -> str:
    return "\n".join(json.dumps(one_line(text, MAX_DESCRIPTION), ensure_ascii=False) for text in texts) or "None."


def _fenced(source: str, language: str = "python") -> str:
    """In a fence that the text cannot close: one backtick longer than its longest run of them."""
    longest = max((len(run) for run in re.findall(r"`+", source)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{source.rstrip()}\n{fence}"


def _turn(briefing: Briefing) -> str:
    turn = _asked(briefing)
    if briefing.refusal:
        refusal = json.dumps(one_line(briefing.refusal, MAX_REFUSAL), ensure_ascii=False)
        turn = f"Your last proposal was refused: {refusal}\n{_asked(briefing, 'another')}"
    if briefing.attempts_left <= 1:
        turn += " This is your last turn for this slot."
    return turn


def _asked(briefing: Briefing, which: str = "one") -> str:
    """What the answer is to be: a change of the model's own, or two changes of others in one program."""
    conflict = briefing.conflict
    if conflict is None:
        return f"Propose {which} change to the current program."
    said = json.dumps(one_line(conflict.description, MAX_DESCRIPTION), ensure_ascii=False)
    return (
        f"The change of {conflict.theirs} helped its own parent and is not in the current program. Both touch the same "
        f"lines, so they could not be merged by line. What it says of itself:\n{said}\nThis is the change:\n\n"
        f"{_fenced(conflict.diff[:MAX_DIFF], 'diff')}\n\n"
        "Propose the current program with what that change is for worked into it, and nothing else."
    )
