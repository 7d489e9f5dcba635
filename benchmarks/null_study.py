"""Two real studies of a tiny linear model on the stand-in: proposals that change nothing that matters, and the same
with one planted gain.

    python benchmarks/null_study.py FOLDER [--trials 40] [--seed 0]

The nulls are weight decays of 1e-5 to 1e-4, which move nothing in a training this short; the planted gain is a learning
rate of 0.5 in place of 0.05. Prints one JSON line a study: what was kept, what the finals said. Real processes,
trainings and seeds; a few minutes each.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fakes.tiny_study import make_tiny_study, write_script

from swarm.verdict.standing import kept

NULLS = 40
PLANTED_AT = 7


def lines(*, planted: bool) -> list[dict[str, object]]:
    made: list[dict[str, object]] = [
        {"description": f"weight decay {number}", "constants": {"WEIGHT_DECAY": round(1e-5 * 1.06**number, 9)}}
        for number in range(NULLS)
    ]
    if planted:
        made.insert(PLANTED_AT, {"description": "planted: ten times the learning rate", "constants": {"MAX_LR": 0.5}})
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    for planted in (False, True):
        folder = asked.folder / ("planted" if planted else "null")
        folder.mkdir(parents=True)
        tiny = make_tiny_study(folder)
        script = write_script(folder / "script.jsonl", *lines(planted=planted))
        up = ("--trials", str(asked.trials), "--seed", str(asked.seed), "--proposer", f"scripted:{script}")
        done = tiny.swarm("up", "--target", "tiny", "--data", "standin", "--device", "cpu", *up, timeout=3600)
        study = tiny.study()
        print(
            json.dumps(
                {
                    "study": folder.name,
                    "exit": done.returncode,
                    "trials": len(study.trials),
                    "finals_runs": sum(trial.claim.finals > 0 for trial in study.trials.values()),
                    "kept": [program.first.claim.description for program in kept(study)],
                    "finals": [end.why for end in study.finals_ends.values()],
                    "drifted": [end.drifted for end in study.finals_ends.values()],
                    "brain": str(tiny.brain),
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
