"""Runs a target's own trusted commands: the grader, and what makes the inputs of rounds. Standard library only."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from swarm.grading.answer import NoScore
from swarm.grading.config import GradedConfig
from swarm.trial.contract import CONFIG_VARIABLE, PHASE_VARIABLE

_PYTHONS = ("python", "python3")


def python_of(program: str) -> str:
    """`python` is this interpreter."""
    return sys.executable if program in _PYTHONS else program


def run_trusted(
    what: str, command: Sequence[str], config: GradedConfig, told: Mapping[str, str], out: BinaryIO, words: BinaryIO
) -> int:
    """To its end, in the grader's folder, with these variables besides its own. Returns its exit code.

    `what` names it in an error: the grader. Raises NoScore where it cannot be started or takes too long.
    """
    program, *arguments = command
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **told}
    for name in (CONFIG_VARIABLE, PHASE_VARIABLE):
        environment.pop(name, None)
    try:
        ended = subprocess.run(
            [python_of(program), *arguments],
            cwd=config.folder.grader,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=words,
            timeout=config.grade_limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NoScore(f"{what} took longer than its limit of {config.grade_limit_s:g} s") from error
    except OSError as error:
        raise NoScore(f"{what} {program!r} cannot be started: {error.strerror}") from error
    return ended.returncode
