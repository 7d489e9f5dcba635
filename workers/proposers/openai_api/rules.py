"""What one server wants for one model, learnt once and kept for the study.

Compatible servers differ in the name of a parameter, in the role that instructions may have, in whether they keep to a
schema, in how long a prompt may be. A server is asked in the commonest way; what it refuses with a cure in its words is
asked again in the way that it wants (`cures`), and from then on.
"""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from workers.proposers.foreign_json import read_foreign_json

Mode = Literal["envelope", "schema"]

MOST_PROMPT_TOKENS = 10_000_000
MOST_OUTPUT_TOKENS = 65_536  # asked for, however often an answer was cut off

_log = logging.getLogger(__name__)


class Rules(BaseModel):
    """How to ask. The defaults are how a server is asked that nothing is known of. Sizes in tokens."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    output_tokens: int | None = Field(default=None, ge=1)  # asked for; None names no limit
    most_output_tokens: int = Field(default=MOST_OUTPUT_TOKENS, ge=1)  # that the server takes
    prompt_tokens: int = Field(default=MOST_PROMPT_TOKENS, ge=1)  # most, by our estimate
    instructions: Literal["system", "developer", "user"] = "system"  # user: they stand first in the user's message
    takes_schema: bool = True
    stream: Literal["no", "yes", "never"] = "no"
    counts_in_stream: bool = True  # asked for the usage of a streamed answer
    path: Literal["", "/v1"] = ""  # behind the address that the person gave


DEFAULT = Rules()


class RuleBook:
    """The rules of one model on one server: `start` is what the person set, which nothing that is learnt exceeds.

    What is learnt is a small file in `folder`, so that no other worker of the study, nor this one after a restart, has
    to learn it again; with `folder` None this object alone remembers it. Two workers that learn at the same moment may
    lose one of the two lessons; it is learnt again.
    """

    def __init__(self, folder: Path | None, base_url: str | None, model: str, start: Rules = DEFAULT) -> None:
        name = hashlib.sha256(f"{base_url}\n{model}".encode()).hexdigest()[:16]
        self._file = folder / f"{name}.json" if folder is not None else None
        self._start = start
        self._learnt: dict[str, object] = {}

    @property
    def most_prompt_tokens(self) -> int:
        """As the person set it."""
        return self._start.prompt_tokens

    @property
    def rules(self) -> Rules:
        """As they are known now, by whichever worker."""
        if self._file is not None:
            try:
                learnt = read_foreign_json(self._file.read_text(encoding="utf-8"))
                self._rules_of(learnt)
                self._learnt = learnt if isinstance(learnt, dict) else {}
            except FileNotFoundError:
                pass
            except (OSError, ValueError) as error:  # costs what it takes to learn them again
                _log.warning("%s is not read: %s", self._file, error)
        return self._rules_of(self._learnt)

    def learn(self, update: Mapping[str, object]) -> None:
        """`update`: new values of fields of Rules."""
        self._rules_of({**self.rules.model_dump(), **update})
        self._learnt = {**self._learnt, **update}
        if self._file is None:
            return
        try:
            _write(self._file, json.dumps(self._learnt))
        except OSError as error:  # costs one request of the next worker
            _log.warning("%s is not written: %s", self._file, error)

    def _rules_of(self, learnt: object) -> Rules:
        """Raises ValueError for what are no rules."""
        start = self._start
        rules = Rules.model_validate({**start.model_dump(), **(learnt if isinstance(learnt, dict) else {})})
        most = min(rules.most_output_tokens, start.most_output_tokens)
        return rules.model_copy(
            update={
                "most_output_tokens": most,
                "output_tokens": min(rules.output_tokens, most) if rules.output_tokens else None,
                "prompt_tokens": min(rules.prompt_tokens, start.prompt_tokens),
            }
        )


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, fresh = tempfile.mkstemp(dir=path.parent, prefix=".rules-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(fresh).replace(path)
