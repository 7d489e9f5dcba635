"""What the supervisor has measured of each round, for the grader: rounds.json beside rounds/.

    [{"round": 1, "run": {"cpu_s": 0.31, "wall_s": 0.4}, "reference": {"cpu_s": 0.62, "wall_s": 0.7}}, ...]

CPU seconds are those of all processes and threads of a program from the moment when its own code began, import
included, until the last of them was dead.
"""

import json
from pathlib import Path

from swarm.grading.answer import NoScore
from swarm.grading.config import GradedConfig
from swarm.grading.outputs import take_outputs
from swarm.trial.files import write_whole

PROGRAMS = ("run", "reference")


def take_rounds(config: GradedConfig) -> None:
    """Copies what both programs left in each round, and writes down how long they took. Raises NoScore and NotInert."""
    folder = config.folder
    measured = _measured(folder.ended)
    times: list[dict[str, object]] = []
    for number in range(1, config.rounds + 1):
        for who in PROGRAMS:
            take_outputs(config.outputs, folder.outputs_of(f"{who}.{number}"), folder.made(number) / who)
        times.append({"round": number, **{who: measured[f"{who}.{number}"] for who in PROGRAMS}})
    write_whole(folder.times, json.dumps(times))


def _measured(path: Path) -> dict[str, dict[str, float]]:
    """By phase. Raises NoScore where a program's own time is not known from its very beginning."""
    found: dict[str, dict[str, float]] = {}
    for phase in json.loads(path.read_text(encoding="utf-8")):
        if "." in phase["name"]:
            if not phase["begun"]:
                raise NoScore(f"{phase['name']} did not say when the program began, so that it has no time")
            found[phase["name"]] = {"cpu_s": float(phase["own_cpu_s"]), "wall_s": float(phase["own_s"])}
    return found
