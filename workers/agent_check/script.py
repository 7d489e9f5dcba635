"""What the scripted model does: which tool of those that an agent offers it calls next, or what it says."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Scene = Literal["edit", "no change", "401", "429", "hang", "outside"]
SCENES: tuple[Scene, ...] = ("edit", "outside", "no change", "401", "429", "hang")

HEADER = {"hypothesis": "another value is better", "family": "optimiser", "operator": "tune", "expects": -0.05}
NOTHING_SAID = "I looked at it and would change nothing."

_RECORD = re.compile(r'"id\\*": \\*"(t\d+)')
_READERS = ("Read", "read", "read_file")
_EDITORS = ("Edit", "edit", "replace")
_SHELLS = ("exec_command", "shell_command", "shell")
_FILE, _OLD, _NEW = "filepath", "oldstring", "newstring"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of an agent, whatever it was written in. `tools`: the names of the arguments of each tool that it
    offers; None for one that takes free text. `results`: how many calls have been answered so far."""

    text: str
    tools: Mapping[str, tuple[str, ...] | None]
    results: int
    model: str
    streams: bool


@dataclass(frozen=True, slots=True)
class Call:
    """Of a tool: with arguments, or with free text."""

    tool: str
    arguments: Mapping[str, object] | str


@dataclass(frozen=True, slots=True)
class Change:
    """One line of one file."""

    path: Path
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Script:
    """`folder` is where the agent works, which is known once it has been started; `outside` is a file elsewhere that it
    must not change. Both hold the line `old`."""

    scene: Scene
    file: str
    old: str
    new: str
    outside: Path
    folder: Callable[[], Path]

    def next(self, asked: Asked) -> Call | str:
        """Reads first where there is a tool for that, since some edit nothing that they have not read."""
        if self.scene == "no change":
            return NOTHING_SAID
        change = Change(self.outside if self.scene == "outside" else self.folder() / self.file, self.old, self.new)
        if not asked.tools:
            return f"{_block(change, self.file)}\n{_said(asked)}" if "SEARCH/REPLACE" in asked.text else _said(asked)
        calls = _calls(asked.tools, change)
        return calls[asked.results] if asked.results < len(calls) else _said(asked)


def _said(asked: Asked) -> str:
    """The header that a proposal needs, with a record of the prompt."""
    header = {**HEADER, "cites": _RECORD.findall(asked.text)[:1]}
    return f"I changed one line.\n\n```json\n{json.dumps(header)}\n```"


def _calls(tools: Mapping[str, tuple[str, ...] | None], change: Change) -> list[Call]:
    readers = [name for name in _READERS if name in tools]
    editors = [name for name in _EDITORS if name in tools]
    if editors:
        return [Call(name, _filled(tools[name] or (), change)) for name in (*readers[:1], editors[0])]
    if "apply_patch" in tools and tools["apply_patch"] is None:
        return [Call("apply_patch", _patch(change))]
    return [_typed(name, tools[name] or (), change) for name in _SHELLS if name in tools][:1]


def _filled(names: tuple[str, ...], change: Change) -> dict[str, object]:
    values = {_FILE: str(change.path), _OLD: change.old, _NEW: change.new, "instruction": "change one line"}
    spelt = {name: name.replace("_", "").lower() for name in names}
    return {name: values[plain] for name, plain in spelt.items() if plain in values}


def _typed(tool: str, names: tuple[str, ...], change: Change) -> Call:
    """The change as a command; `apply_patch` is one inside of codex's shell."""
    command = f"apply_patch <<'EOF'\n{_patch(change)}EOF"
    if "cmd" in names:
        return Call(tool, {"cmd": command})
    return Call(tool, {"command": command if tool == "shell_command" else ["bash", "-lc", command]})


def _patch(change: Change) -> str:
    return f"*** Begin Patch\n*** Update File: {change.path}\n@@\n-{change.old}\n+{change.new}\n*** End Patch\n"


def _block(change: Change, file: str) -> str:
    """As aider wants it: its own file by the name that it has there, another one by its path."""
    name = file if str(change.path).endswith(f"/work/{file}") else change.path
    return f"{name}\n```python\n<<<<<<< SEARCH\n{change.old}\n=======\n{change.new}\n>>>>>>> REPLACE\n```\n"
