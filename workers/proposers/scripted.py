"""Replays a list of changes from a file, one JSON object a line.

    {"description": "lower the rate", "constants": {"MAX_LR": 0.05}}
    {"description": "smooth relu", "edits": [{"search": "F.relu", "replace": "F.silu"}], "family": "activation"}
    {"description": "a whole new program", "source": "...", "operator": "structural"}

Constants and edits apply to the incumbent of the moment. Several workers may replay one file: a line that somebody has
claimed, as the briefing shows by its description, is not offered again. A line that is none is told before the study
begins; a text that no program can be is a bad answer, recorded when its turn comes.
"""

import math
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SkipValidation, ValidationError, model_validator

from swarm.errors import Escaped, UsageError, contained
from swarm.program import constants
from swarm.program.families import OTHER, family_of
from swarm.records import MAX_DESCRIPTION, Operator, Proposal, Scalar
from swarm.records import Line as SafeLine
from workers.briefing import Briefing
from workers.proposers import ProposalFailed
from workers.proposers.evidence import cites_for
from workers.proposers.foreign_json import read_foreign_json

OFFERS = 2  # a line whose claim came too late is offered once more


AnyText = Annotated[str, SkipValidation]  # also half a character, which a JSON text may hold and a program may not


class Edit(BaseModel):
    """Replace the one occurrence of a text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    search: str = Field(min_length=1)
    replace: AnyText


class Line(BaseModel):
    """One scripted change."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: SafeLine = Field(min_length=1, max_length=MAX_DESCRIPTION)
    constants: dict[str, Scalar] = Field(default_factory=dict)
    edits: tuple[Edit, ...] = ()
    source: AnyText | None = None
    family: str | None = None
    operator: Literal["tune", "structural", "recombine", "ablate"] | None = None

    @model_validator(mode="after")
    def _source_stands_alone(self) -> "Line":
        if self.source is not None and (self.constants or self.edits):
            raise ValueError("a whole source excludes constants and edits")
        return self


class ScriptedProposer:
    """Offers the lines in order, then fails with `script_finished` for ever."""

    def __init__(self, path: Path) -> None:
        """Raises UsageError naming the line when the file is no script."""
        self._path = path
        self._lines = read_script(path)
        self._offers: Counter[int] = Counter()
        self._last: int | None = None

    @property
    def name(self) -> str:
        return "scripted"

    def propose(self, briefing: Briefing) -> Proposal:
        """The next line as a change of the incumbent. Raises ProposalFailed at the end and for a line that cannot
        be applied; the next call goes on behind that line."""
        if briefing.refusal is not None and self._last is not None:
            self._offers[self._last] = OFFERS
        number = self._next(briefing)
        if number is None:
            detail = f"all {len(self._lines)} lines of {self._path.name} were offered"
            raise ProposalFailed("script_finished", detail, cooldown_s=math.inf)
        self._last = number
        self._offers[number] += 1
        line = self._lines[number]
        proposal = contained(lambda: self._proposal(line, briefing))
        if isinstance(proposal, Escaped):
            self._offers[number] = OFFERS
            raise ProposalFailed("edit_failed", f"line {number + 1} of {self._path.name}: {proposal.text}")
        return proposal

    def _proposal(self, line: Line, briefing: Briefing) -> Proposal:
        """Raises TargetError or ValueError for a line that cannot be applied."""
        return Proposal(
            operator=_operator(line),
            family=line.family or next((family_of(name) for name in line.constants), OTHER),
            description=line.description,
            parent=briefing.incumbent.trial_id,
            source=_apply(line, briefing.incumbent.source),
            cites=cites_for(briefing, line.constants),
            proposer=self.name,
        )

    def _next(self, briefing: Briefing) -> int | None:
        """The first line that is still owed. Lines with one description count one attempt each."""
        claimed = Counter(attempt.description for attempt in briefing.attempts)
        for number, line in enumerate(self._lines):
            claimed[line.description] -= 1
            if claimed[line.description] < 0 and self._offers[number] < OFFERS:
                return number
        return None


def read_script(path: Path) -> list[Line]:
    """Raises UsageError naming the file, the line and what is wrong with it. Empty lines are skipped."""
    try:
        texts = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the script {path}: {error}") from None
    lines = []
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            continue
        try:
            lines.append(Line.model_validate(read_foreign_json(text)))
        except ValueError as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            raise UsageError(f"{path} line {number} is not a scripted change: {reason}") from None
    return lines


def _apply(line: Line, source: str) -> str:
    if line.source is not None:
        return line.source
    for edit in line.edits:
        found = source.count(edit.search)
        if found != 1:
            raise ValueError(f"the text {edit.search[:80]!r} occurs {found} times, and must occur once")
        source = source.replace(edit.search, edit.replace)
    return constants.assign(source, line.constants) if line.constants else source


def _operator(line: Line) -> Operator:
    if line.operator is not None:
        return Operator(line.operator)
    return Operator.TUNE if line.constants and not line.edits else Operator.STRUCTURAL
