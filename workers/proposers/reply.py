"""What a model answered, read defensively: header, edits, and the proposal that they make.

Shared by the proposers that ask a language model. An answer has one power only: to become the new text of the one
editable file, with a few bounded fields beside it. Operators that would bypass the novelty gate (baseline, replicate)
cannot be asked for.
"""

import json
import math
import re
from dataclasses import dataclass, replace

from swarm.errors import TargetError
from swarm.program import constants, several
from swarm.program.families import FAMILIES, OTHER, family_of
from swarm.program.tree import tree_sha256
from swarm.records import MAX_DESCRIPTION, Operator, Proposal, Usage, one_line
from workers.briefing import Briefing
from workers.proposers import ProposalFailed
from workers.proposers.blocks import labelled_path, parse_edits, whole_file
from workers.proposers.edits import EditFailed, apply_edits
from workers.proposers.forms import plain_lines
from workers.proposers.json_forms import json_edits, json_objects, json_settings, json_texts
from workers.redact import Redactor
from workers.render import TOO_LONG_REST_S, Prompt, PromptTooLong, Reply, render

MAX_ANSWER_CHARS = 120_000
MAX_CITES = 16

_LINE = r"(?im)^[^\w\n]{{0,8}}{}[*_`\" ]{{0,8}}:(.+)$"  # as YAML, or in bold letters
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
_SAYABLE = {operator.value: operator for operator in (Operator.ABLATE, Operator.RECOMBINE)}


@dataclass(frozen=True, slots=True)
class Header:
    """What the model says about its change; every field was checked and cut."""

    hypothesis: str = ""
    family: str = ""
    operator: Operator | None = None  # ablate or recombine; tune and structural are read off the edit
    cites: tuple[str, ...] = ()
    expects: float | None = None
    vram_mib: float | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    header: Header | None
    source: str


def read_envelope(answer: str, briefing: Briefing, known: Header | None = None) -> Draft:
    """A JSON header and SEARCH/REPLACE blocks, or a header and the whole file. `known`: from an earlier turn.

    Raises EditFailed with a reason that the model can act on.
    """
    _refuse_long(answer)
    header = parse_header(answer) or known
    source = _edited(answer, briefing) or _inside_json(answer, briefing) or _whole(answer, briefing)
    return checked(Draft(header, source), briefing)


def read_schema(answer: str, briefing: Briefing) -> Draft:
    """One JSON object with the header's fields and `edits`. Raises EditFailed."""
    _refuse_long(answer)
    found = next((item for item in json_objects(answer) if isinstance(item.get("edits"), list)), None)
    if found is None:
        raise EditFailed("the answer is not one JSON object with the key `edits`.")
    if not found["edits"]:
        raise EditFailed("`edits` is empty: propose one change.")
    return read_envelope(answer, briefing, _header(found))


def parse_header(answer: str) -> Header | None:
    """The last JSON object of the answer that has a hypothesis; None if there is none."""
    found = [item for item in json_objects(answer) if isinstance(item.get("hypothesis"), str)]
    return _header(found[-1]) if found else _header_in_words(answer)


def _header_in_words(answer: str) -> Header | None:
    """A hypothesis, and perhaps a family, on lines of their own."""
    lines = {key: re.search(_LINE.format(key), answer) for key in ("hypothesis", "family")}
    said: dict[str, object] = {key: line[1].strip("*_`\"' ") for key, line in lines.items() if line}
    return _header(said) if said.get("hypothesis") else None


def checked(draft: Draft, briefing: Briefing) -> Draft:
    """The same draft, if it is a change, is Python, and fits the memory by its own prediction. Raises EditFailed."""
    if draft.source.strip() == briefing.incumbent.source.strip():
        raise EditFailed("the edited file equals the current one: nothing would change.")
    try:
        draft.source.encode()
        constants.parse(draft.source)
        tree_sha256(draft.source)
    except (TargetError, UnicodeEncodeError) as error:
        raise EditFailed(f"the edited file is not usable: {error}") from error
    vram_mib, limit = draft.header.vram_mib if draft.header else None, briefing.memory_limit_mib
    if vram_mib is not None and limit is not None and vram_mib > limit:
        raise EditFailed(f"you predict a peak of {vram_mib:g} MiB and the limit is {limit} MiB: make it smaller.")
    return draft


def prompt_for(briefing: Briefing, reply: Reply, max_tokens: int) -> Prompt:
    """Raises ProposalFailed, with a rest, when the program alone is too long for the prompt."""
    try:
        return render(briefing, reply=reply, max_tokens=max_tokens)
    except PromptTooLong as error:
        raise ProposalFailed("llm_config", str(error), cooldown_s=TOO_LONG_REST_S) from error


def to_proposal(
    draft: Draft,
    briefing: Briefing,
    *,
    proposer: str,
    usage: Usage | None,
    redact: Redactor,
    prompt: Prompt | None = None,
) -> Proposal:
    """Cites are passed on as they were said: whether they exist is the gate's question and a measured quantity."""
    header, parent = draft.header or Header(), briefing.incumbent
    return Proposal(
        operator=_operator(parent.source, draft.source, header.operator),
        family=_family(header.family, parent.source, draft.source),
        description=redact(header.hypothesis) or _describe(parent.source, draft.source),
        parent=parent.trial_id,
        source=draft.source,
        cites=header.cites,
        expects=briefing.objective.cost(header.expects) if header.expects is not None else None,
        proposer=proposer,
        usage=usage,
        briefing_tokens=prompt.tokens if prompt else None,
        shown=prompt.shown if prompt else None,
    )


def _refuse_long(answer: str) -> None:
    if not answer.strip():
        raise EditFailed("the answer is empty.")
    if len(answer) > MAX_ANSWER_CHARS:
        raise EditFailed(
            f"the answer has {len(answer)} characters, at most {MAX_ANSWER_CHARS} are read. Send one small change."
        )


def _without_header(text: str) -> str:
    """A program may begin with an object, too, but not with one that has a hypothesis."""
    try:
        item, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return text
    return text[end:].lstrip("\n") if isinstance(item, dict) and "hypothesis" in item else text


def _edited(answer: str, briefing: Briefing) -> str | None:
    """The program with the edits of an answer; None where it has none."""
    source = briefing.incumbent.source
    files = tuple(several.files_of(source, briefing.editable))
    edits = parse_edits(answer, *files) or [
        replace(edit, path=labelled_path([edit.path], files)) for edit in json_edits(answer)
    ]
    return apply_edits(source, edits) if edits else None


def _inside_json(answer: str, briefing: Briefing) -> str | None:
    """As a text within an object: blocks, a diff, or the file. Or as new values of the program's own constants."""
    for text in json_texts(answer):
        if (source := _edited(text, briefing) or _bare_file(text)) is not None:
            return source
    source = briefing.incumbent.source
    settings = json_settings(answer, constants.parse(source))
    try:
        return constants.assign(source, settings) if settings else None
    except TargetError as error:
        raise EditFailed(f"a constant cannot be set to this: {error}") from error


def _whole(answer: str, briefing: Briefing) -> str:
    """The file given whole. Code with under half of its lines is taken for a fragment, which says not where it goes."""
    text = whole_file(answer, briefing.editable) or _bare_file(answer)
    if text is None:
        raise EditFailed("there is no SEARCH/REPLACE block in the answer.")
    text = "\n".join(plain_lines(text.split("\n"), briefing.incumbent.source.split("\n")))
    lines, least = text.count("\n"), briefing.incumbent.source.count("\n") // 2
    if lines < least:
        raise EditFailed(
            f"the code in the answer has {lines} lines and is neither a SEARCH/REPLACE block nor the whole file."
        )
    return text


def _bare_file(answer: str) -> str | None:
    """The answer itself, where it is a program with the two functions that every program has."""
    text = _without_header(answer.strip("\ufeff \n")) + "\n"
    if not re.search(r"(?m)^def main\(", text) or not re.search(r"(?m)^def build_model\(", text):
        return None
    try:
        tree_sha256(text)
    except TargetError:
        return None
    return text


def _header(item: dict[str, object]) -> Header:
    cites = item.get("cites")
    listed = cites if isinstance(cites, list) else []
    return Header(
        hypothesis=one_line(_words(item.get("hypothesis")), MAX_DESCRIPTION),
        family=one_line(_words(item.get("family")), 40).lower(),
        operator=_SAYABLE.get(_words(item.get("operator")).lower()),
        cites=tuple(dict.fromkeys(c for c in listed if isinstance(c, str) and _ID.fullmatch(c)))[:MAX_CITES],
        expects=_number(item.get("expects"), low=-100, high=100),
        vram_mib=_number(item.get("vram_mib"), low=0, high=1e8),
    )


def _words(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _number(value: object, *, low: float, high: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if low <= value <= high and math.isfinite(value) else None


def _operator(parent: str, child: str, said: Operator | None) -> Operator:
    if said is not None:
        return said
    new = {name: value for name, (old, value) in constants.changed(parent, child).items() if old is not None}
    settings = {name: value for name, value in new.items() if value is not None}
    tuned = constants.assign(parent, settings)
    only_constants = bool(settings) and tree_sha256(tuned) == tree_sha256(child)
    return Operator.TUNE if only_constants else Operator.STRUCTURAL


def _family(said: str, parent: str, child: str) -> str:
    british = re.sub(r"iz(er|ation)\b", r"is\1", said)
    if british in FAMILIES:
        return british
    families = (family_of(name) for name in constants.changed(parent, child))
    return next((family for family in families if family != OTHER), OTHER)


def _describe(parent: str, child: str) -> str:
    moves = [f"{name} {old} -> {new}" for name, (old, new) in constants.changed(parent, child).items()]
    return one_line("; ".join(moves) or "edit without a stated hypothesis", MAX_DESCRIPTION)
