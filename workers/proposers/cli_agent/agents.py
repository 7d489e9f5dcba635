"""Which coding agents there are and how each is started: configuration, not code."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from swarm.errors import UsageError

BUILT_IN = Path(__file__).with_name("agents.toml")

_PLACEHOLDER = re.compile(r"\{(prompt|prompt_file|folder|file|home|model|base_url)\}")
_MODEL, _WALL = "{model...}", "{wall...}"


class SelfHosted(BaseModel):
    """What is otherwise for a model server of one's own, whose address stands in the environment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = "OPENAI_BASE_URL"
    model: tuple[str, ...] = ()
    set: dict[str, str] = {}
    files: dict[str, str] = {}


class AgentSpec(BaseModel):
    """One table of `agents.toml`; its head explains the keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    argv: tuple[str, ...] = Field(min_length=1)
    model: tuple[str, ...] = ()
    behind_wall: tuple[str, ...] = ()
    without_wall: tuple[str, ...] = ()
    prompt: Literal["stdin", "file", "argument"]
    output: Literal["text", "text:aider", "jsonl:codex", "jsonl:claude", "jsonl:gemini", "jsonl:opencode"] = "text"
    env: tuple[str, ...] = ()
    rename: dict[str, str] = {}
    set: dict[str, str] = {}
    files: dict[str, str] = {}
    login: tuple[str, ...] = ()
    needs_model: bool = False
    gives_up: str = ""
    self_hosted: SelfHosted | None = None

    def here(self, source: Mapping[str, str]) -> "AgentSpec":
        """As it is started with these variables: with its own model server, if one of them names it."""
        own = self.self_hosted
        if own is None or not source.get(own.url):
            return self
        changed = {"model": own.model or self.model, "set": self.set | own.set, "files": self.files | own.files}
        return self.model_copy(update=changed)

    def base_url(self, source: Mapping[str, str]) -> str:
        """The address of one's own model server; empty where there is none."""
        return source.get(self.self_hosted.url, "") if self.self_hosted is not None else ""

    def home_files(self, values: Mapping[str, str]) -> dict[str, str]:
        """What it finds in its home at each start, by path."""
        return {path: _fill(text, values) for path, text in self.files.items()}

    def command(self, values: Mapping[str, str], *, walled: bool = True) -> list[str]:
        """The arguments with the placeholders filled in; one element stays one argument, whatever the values hold.
        `walled`: the wall against writing elsewhere stands, so that it needs none of its own."""
        instead = {
            _MODEL: self.model if values.get("model") else (),
            _WALL: self.behind_wall if walled else self.without_wall,
        }
        return [_fill(part, values) for element in self.argv for part in instead.get(element, (element,))]

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
