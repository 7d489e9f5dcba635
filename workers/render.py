"""A briefing as the text that a language model reads: bounded, with everything that was written by others as data.

Templates are files in `workers/prompts/`. Records become one JSON line each and every field is cut to a limit, so that
no text of a record can leave its line or pretend to be a heading. What this does not promise is that a model ignores
what such a text says; the power of an answer is limited elsewhere.

Sizes are estimated as four characters a token (no tokenizer works offline for every model).
"""

from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Literal

from swarm.errors import SwarmError
from swarm.program.families import FAMILIES
from swarm.records import one_line
from swarm.target.objective import Objective
from workers.briefing import Briefing
from workers.harness_calls import harness_calls
from workers.kept_form import kept_form
from workers.record_lines import MAX_DESCRIPTION, change, fenced, lines, newest, quoted, record
from workers.regions import MAX_WORD, regions
from workers.sections import ROLES, facts, noise, program, running, turn

CHARS_PER_TOKEN = 4
DEFAULT_MAX_TOKENS = 12_000
MAX_BESIDE_SOURCE = 4_000  # tokens of everything but the program itself, in a study of any length
TOO_LONG_REST_S = 600.0  # of a model for which the program is too long: another incumbent may be shorter
MAX_PROGRAM_TEXT = 6_000
MAX_RESTING = 12  # names of families

Reply = Literal["envelope", "schema", "files"]


@dataclass(frozen=True, slots=True)
class _Size:
    """How much of each section there is; `brief` leaves out what a small model can do without."""

    records: int
    diffs: int
    listed: int
    constants: int
    brief: bool = False


_SIZES = (
    *(_Size(12, 3, 12, 40), _Size(12, 3, 9, 30), _Size(12, 2, 6, 24), _Size(9, 2, 5, 20), _Size(8, 1, 4, 16)),
    *(_Size(6, 1, 3, 12), _Size(6, 0, 2, 8), _Size(6, 0, 1, 4, True), _Size(3, 0, 0, 0, True), _Size(0, 0, 0, 0, True)),
)

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
    """The messages of one turn: at most `max_tokens` long by estimate, and MAX_BESIDE_SOURCE beside the program.

    Every record stands in it once: the nearest to the current program with all their fields, some of them with their
    changes as text, and the newest of all others in a line each, by what came of them. If they do not fit there are
    fewer of all, then neither the findings nor the diagnosis, and no records at the end. The program is always whole,
    because blocks must quote it. Raises PromptTooLong when it alone is too long.
    """
    expected = _prediction(briefing.objective)
    asked = {"editable": briefing.editable, "reply": _reply(reply, briefing, expected)}
    system = _fill("system", **asked, **expected, **kept_form(briefing))
    source = estimate_tokens(briefing.incumbent.source)
    for size in _SIZES:
        user, shown = _user(briefing, size)
        tokens = estimate_tokens(system) + estimate_tokens(user)
        last = size is _SIZES[-1]  # what a person wrote is never cut further than it is
        if tokens <= max_tokens and (last or tokens - source <= MAX_BESIDE_SOURCE):
            return Prompt(system, user, tokens, shown)
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


def _user(briefing: Briefing, size: _Size) -> tuple[str, tuple[str, ...]]:
    """The text, and the ids of the records in it."""
    objective, too_long = briefing.objective, "Left out: too long."
    mended = briefing.crash.trial_id if briefing.crash is not None else None
    ended = [attempt for attempt in briefing.attempts if not attempt.running and attempt.trial_id != mended]
    memory = briefing.memory_limit_mib is not None
    rank = {trial_id: place for place, trial_id in enumerate(briefing.nearest)}
    near = sorted((a for a in ended if a.trial_id in rank), key=lambda a: rank[a.trial_id])[: size.records]
    others = [attempt for attempt in ended if attempt not in near]
    helped = [a for a in others if a.helped]
    failed = [a for a in others if a.failed]
    refuted = [a for a in others if not a.helped and not a.failed]
    in_hand = [a for a in briefing.attempts if a.running]
    diffs = [one for one in briefing.diffs if one.trial_id in {a.trial_id for a in near}][: size.diffs]
    tried = list(regions(briefing))[: size.constants]
    shown = [*near, *(a for part in (helped, refuted, failed) for a in part[-size.listed or len(part) :]), *in_hand]
    text = _fill(
        "briefing",
        program=briefing.program_text.strip()[:MAX_PROGRAM_TEXT],
        steering="\n".join(f"- {one_line(line, MAX_DESCRIPTION)}" for line in briefing.steering) or "None.",
        study=_study(briefing, size.brief),
        facts=facts(briefing),
        harness=_harness(briefing, size.brief),
        regions=lines(tried) or (too_long if size.brief else "No constant is declared."),
        records=lines(record(attempt, objective, memory=memory) for attempt in near) or "None.",
        diffs="\n\n".join(map(change, diffs)) or "None is shown.",
        helped=newest(helped, size.listed, objective) or "None.",
        refuted=newest(refuted, size.listed, objective) or "None.",
        failed=newest(failed, size.listed, objective) or "None.",
        running=lines(map(running, in_hand)) or "Nothing.",
        findings=too_long if size.brief else quoted(briefing.findings) or "None.",
        editable=briefing.editable,
        current=_current(briefing),
        source=fenced(briefing.incumbent.source),
        turn=turn(briefing, _fill("asking").strip()),
    )
    return text, tuple(attempt.trial_id for attempt in shown)


def _harness(briefing: Briefing, brief: bool) -> str:
    if "swarm.harness" not in briefing.incumbent.source:
        return "As the program below does."
    return "Left out: too long. As the program below does." if brief else "\n".join(harness_calls())


def _current(briefing: Briefing) -> str:
    if briefing.crash is not None:
        return f"{briefing.crash.trial_id}, which failed; made on {program(briefing.incumbent, briefing.objective)}"
    return program(briefing.incumbent, briefing.objective)


def _study(briefing: Briefing, brief: bool) -> str:
    objective = briefing.objective
    lines = [f"The objective is the {objective.label}: {objective.better} is better. {noise(briefing)}"]
    if briefing.crash is None:
        lines.append(_standing(briefing))
    if briefing.terms.guards:
        guards = ", ".join(str(guard) for guard in briefing.terms.guards)
        lines.append(f"A program that breaks one of these is not kept, however good its {objective.name}: {guards}.")
    where = ", ".join(filter(None, (one_line(briefing.device, 80), _data(briefing.data))))
    if briefing.budget is not None:
        on = f" on {where}" if where else ""
        lines.append(f"One training may use {briefing.budget.amount:g} {_UNITS[briefing.budget.kind]}{on}.")
    if briefing.workers > 1:
        lines.append(f"{briefing.workers} workers share the device.")
    lines.append(f"You are the {briefing.role}: {ROLES[briefing.role]}")
    if briefing.diagnosis and not brief:
        lines.append(f"Diagnosis of the search so far:\n{quoted([briefing.diagnosis], 1000)}")
    if briefing.cooled_families:
        resting = quoted(briefing.cooled_families[:MAX_RESTING], MAX_WORD)
        lines.append(f"These families rest now, choose another:\n{resting}")
    return "\n".join(lines)


_UNITS = {
    "solo_seconds": "seconds of work, counted as if it had the device alone",
    "seconds": "seconds",
    "samples": "images",
}


def _data(name: str) -> str:
    return "procedural stand-in images, not CIFAR-100" if name == "standin" else one_line(name, 60)


def _standing(briefing: Briefing) -> str:
    """What the current program is to the study, and why it is this one."""
    current = program(briefing.incumbent, briefing.objective)
    if briefing.left is None:
        best = "the unchanged program" if not briefing.incumbent.lineage else "the best that the study has"
        return f"The current program is the incumbent, {best}: {current}."
    views = (view for view in briefing.alternatives if view.trial_id == briefing.left)
    left = next((program(view, briefing.objective) for view in views), briefing.left)
    if briefing.jumped:
        return f"The current program is the one that you asked for, {current}. The incumbent is {left}."
    return f"The search around the incumbent ({left}) has stalled: the current program is of another lineage."
