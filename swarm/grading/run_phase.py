"""Becomes the target's command, in the sandbox that its supervisor has closed. `python` is this interpreter."""

import os
import sys
from pathlib import Path

from swarm.grading.commands import python_of
from swarm.grading.config import GradedConfig
from swarm.trial.contract import CONFIG_VARIABLE, PHASE_VARIABLE, ExitCode, candidate_begins


def main() -> None:
    config = GradedConfig.from_json(Path(os.environ.pop(CONFIG_VARIABLE)).read_text(encoding="utf-8"))
    environment = {
        **os.environ,
        "SWARM_SEED": str(config.seed),
        "SWARM_BUDGET": f"{config.budget:g}",
        "SWARM_BUDGET_UNIT": config.budget_unit,
        "SWARM_DEVICE": config.device,
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    program, *arguments = config.run
    program = python_of(program)
    os.chdir(config.folder.workplace(environment.pop(PHASE_VARIABLE)))
    candidate_begins(wait=True)
    environment.pop("SWARM_CHANNEL", None)
    try:
        os.execvpe(program, [program, *arguments], environment)
    except OSError as error:
        print(f"the command {config.run[0]!r} cannot be started: {error.strerror}", file=sys.stderr)
        sys.exit(ExitCode.CRASHED)


if __name__ == "__main__":
    main()
