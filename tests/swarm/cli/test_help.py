"""Every help: examples that the command really takes, one screen for the list, completion in the shell."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from swarm.cli.app import app
from swarm.cli.examples import EXAMPLES

SWARM = str(Path(sys.executable).with_name("swarm"))


def commands(command: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """All of them by the words after `swarm`, groups too."""
    for name, child in getattr(command, "commands", {}).items():
        yield f"{above}{name}", child
        yield from commands(child, f"{above}{name} ")


ROOT = typer.main.get_command(app)
COMMANDS = dict(commands(ROOT))
EXAMPLES_OF_ALL = [(name, example) for name, words in EXAMPLES.items() for example in words.examples]


def test_every_command_has_examples_and_every_entry_is_a_command() -> None:
    assert set(COMMANDS) == set(EXAMPLES)
    for name, command in COMMANDS.items():
        assert EXAMPLES[name].examples and all(example in command.epilog for example in EXAMPLES[name].examples), name


@pytest.mark.parametrize(("name", "example"), EXAMPLES_OF_ALL)
def test_each_example_is_taken_by_its_command(name: str, example: str) -> None:
    words = shlex.split(re.sub(r" > \S+$", "", example))
    assert words[0] == "swarm" and len(example) <= 78
    command, rest = ROOT, words[1:]
    while rest and rest[0] in getattr(command, "commands", {}):
        command, rest = command.commands[rest[0]], rest[1:]
    assert command is COMMANDS[name] or command in getattr(COMMANDS[name], "commands", {}).values()
    if rest != ["--help"]:
        command.make_context(name, rest)  # refuses what it does not know or what is missing; calls nothing


def test_the_list_of_commands_has_a_line_each_at_80_columns() -> None:
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run([SWARM, "--help"], env=environment, capture_output=True, text=True, check=True, timeout=60)
    listed = done.stdout.partition("Commands")[2].splitlines()
    top = [name for name in COMMANDS if " " not in name]
    for name in top:
        (line,) = [line for line in listed if re.match(rf"\W*{name} ", line)]
        assert EXAMPLES[name].short in line
    assert len(done.stdout.splitlines()) <= len(top) + 28


def test_the_shell_completes_commands_and_options() -> None:
    def completed(words: str) -> str:
        environment = {**os.environ, "_SWARM_COMPLETE": "complete_bash", "COMP_WORDS": words}
        environment["COMP_CWORD"] = str(len(words.split(" ")) - 1)
        return subprocess.run([SWARM], env=environment, capture_output=True, text=True, check=False, timeout=60).stdout

    assert {"status", "steer", "stop"} <= set(completed("swarm st").split())
    assert "veto" in completed("swarm steer v").split()
    assert "--study" in completed("swarm log --st").split()
