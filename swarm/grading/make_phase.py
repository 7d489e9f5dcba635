"""Makes the inputs of each round, before any program of the trial has begun. Trusted.

The target's own command gets a secret of 128 bits that exists nowhere else, and leaves rounds/N/inputs, and beside them
whatever the grader needs to check the answers with. The inputs alone are copied to where the two programs run: not even
the seed of the trial, which a program is told, says anything about them.
"""

import os
import secrets
import shutil
import sys
from pathlib import Path
from typing import BinaryIO

from swarm.grading.answer import NoScore
from swarm.grading.commands import run_trusted
from swarm.grading.config import GradedConfig
from swarm.trial.contract import CONFIG_VARIABLE, ExitCode
from swarm.trial.crash import last_words

_SECRET_BYTES = 16


def main() -> None:
    config = GradedConfig.from_json(Path(os.environ[CONFIG_VARIABLE]).read_text(encoding="utf-8"))
    try:
        make_inputs(config, secrets.token_hex(_SECRET_BYTES))
    except NoScore as error:
        print(error, file=sys.stderr)
        sys.exit(ExitCode.CRASHED)


def make_inputs(config: GradedConfig, secret: str) -> None:
    """Raises NoScore where the command fails, or a round has no inputs."""
    folder = config.folder
    told = {"SWARM_SECRET": secret, "SWARM_ROUNDS": str(config.rounds)}
    with (folder.private / "make.out").open("w+b") as said:
        if code := run_trusted("rounds.make", config.make, config, told, said, said):
            raise NoScore(f"rounds.make ended with exit code {code}. {_words(said)}")
    for number in range(1, config.rounds + 1):
        made = folder.made(number) / "inputs"
        if not made.is_dir():
            raise NoScore(f"rounds.make left no folder rounds/{number}/inputs")
        for who in ("run", "reference"):
            place = folder.workplace(f"{who}.{number}") / config.inputs
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(made, place)


def _words(said: BinaryIO) -> str:
    said.seek(0)
    return last_words(said.read().decode("utf-8", "replace"))


if __name__ == "__main__":
    main()
