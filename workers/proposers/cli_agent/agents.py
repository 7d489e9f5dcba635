"""Which coding agents there are and how each is started: configuration, not code."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from swarm.errors import UsageError

BUILT_IN = Path(__file__).with_name("agents.toml")

_PLACEHOLDER = re.compile(r"\{(prompt|prompt_file|folder|file|home|model)\}")
_MODEL = "{model...}"


class AgentSpec(BaseModel):
    """One table of `agents.toml`; its head explains the keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    argv: tuple[str, ...] = Field(min_length=1)
    model: tuple[str, ...] = ()
    prompt: Literal["stdin", "file", "argument"]
    output: Literal["text", "jsonl:codex", "jsonl:claude", "jsonl:gemini", "jsonl:opencode"] = "text"
    env: tuple[str, ...] = ()
    rename: dict[str, str] = {}
    set: dict[str, str] = {}
    login: tuple[str, ...] = ()

    def command(self, values: Mapping[str, str]) -> list[str]:
        """The arguments with the placeholders filled in; one element stays one argument, whatever the values hold."""
        arguments: list[str] = []
        for element in self.argv:
            if element != _MODEL:
                arguments.append(_fill(element, values))
            elif values.get("model"):
                arguments.extend(_fill(part, values) for part in self.model)
        return arguments

    def variables(self, source: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
        """What it may see of `source`, and what is set for it."""
        seen = {name: source[name] for name in self.env if name in source}
        renamed = {to: source[name] for name, to in self.rename.items() if name in source and to not in seen}
        return seen | renamed | {name: _fill(value, values) for name, value in self.set.items()}


def load_agents(own: Path | None = None) -> dict[str, AgentSpec]:
    """The built-in agents by name, and those of a file of the user's, which win. Raises UsageError."""
    agents = _read(BUILT_IN)
    return agents | _read(own) if own is not None else agents


def _read(path: Path) -> dict[str, AgentSpec]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    agents = {}
    for name, table in tables.items():
        try:
            agents[name] = AgentSpec.model_validate(table)
        except ValidationError as error:
            problem = error.errors()[0]
            key = ".".join(str(part) for part in problem["loc"]) or "(table)"
            raise UsageError(f"{path}: [{name}] {key}: {problem['msg']}") from error
    return agents


def _fill(text: str, values: Mapping[str, str]) -> str:
    """One pass, so that a value that holds a placeholder is not filled again; other braces stay."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], ""), text)
