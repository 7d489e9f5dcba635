"""The target models/prompts in tests: its grader's modules, its files, and prompts that differ from its own."""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from factories.graded import graded_order, run_graded

from swarm.execution.executor import Outcome
from swarm.target.file import load_target
from swarm.trial.contract import code_root

FOLDER = code_root() / "models" / "prompts"
SECRET = "5e" * 32
GRADING = str(FOLDER / "grading")
if GRADING not in sys.path:
    sys.path.append(GRADING)

import drawing  # noqa: E402 - the grader's own modules, which import each other by their bare names
import filling  # noqa: E402

BASE = (FOLDER / "prompt.toml").read_text(encoding="utf-8")
TARGET = load_target("prompts", code_root())
ITEMS = drawing.draw(SECRET, 40)
TEST_ITEMS = drawing.draw("7a" * 32, 40)


def set_in(text: str, **settings: object) -> str:
    """The prompt with these settings."""
    for name, value in settings.items():
        text, count = re.subn(rf"(?m)^{name} = .*?(?=  # search)", f"{name} = {json.dumps(value)}", text)
        assert count == 1, name
    return text


def template(text: str) -> str:
    """The prompt with another template."""
    start = BASE.index('"question last" = """')
    end = BASE.index('"question first" = """')
    return f'{BASE[:start]}"question last" = """{text}"""\n{BASE[end:]}'


def files(prompt: str | bytes) -> dict[str, bytes]:
    """The target's folder with 40 hidden messages, and the secret that a clone would put there."""
    found = {
        path.relative_to(FOLDER).as_posix(): path.read_bytes()
        for path in FOLDER.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    own = {"private/items.json": b'{"items": 40}', "private_test/items.json": b'{"items": 40}'}
    keys = {"private/items.key": SECRET.encode(), "private_test/items.key": b"7a" * 32}
    text = prompt.encode() if isinstance(prompt, str) else prompt
    return {**found, **own, **keys, "prompt.toml": text}


@dataclass(frozen=True)
class Graded:
    """One trial, and all that was written of it outside of the private folder, which no program and no model meets."""

    outcome: Outcome
    said: str

    @property
    def named(self) -> str:
        return " ".join((*self.outcome.flags, self.outcome.detail))


def graded(
    folder: Path, prompt: str | bytes, secrets: Mapping[str, str] | None = None, seed: int = 1, split: str = "val"
) -> Graded:
    """A whole trial of a prompt: the sandboxed command, then the grader."""
    assert TARGET.grading is not None
    order = graded_order(
        files=files(prompt), editable="prompt.toml", terms=TARGET.terms, grading=TARGET.grading, seed=seed, split=split
    )
    outcome = run_graded(folder, order, secrets=secrets)
    trial = folder / "trials" / "t0001"
    kept = [path for path in (trial / "logs").rglob("*") if path.is_file()]
    logs = "".join(path.read_text(errors="replace") for path in kept)
    return Graded(outcome, outcome.model_dump_json() + logs)


__all__ = ["BASE", "FOLDER", "ITEMS", "TARGET", "TEST_ITEMS", "Graded", "drawing", "filling", "graded", "set_in"]
