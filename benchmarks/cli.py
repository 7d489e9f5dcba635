"""Start-up of the command line, as whole processes.

swarm --help              against `python -c "import typer"`: what the command line framework costs by itself
swarm status --json       on a brain of 10,000 records, against a plain json.loads of each line

python benchmarks/cli.py [--json] [--runs N]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from swarm.brain import Brain
from swarm.records import Budget, Note, StudyOpened

RECORDS = 10_000
PLAIN_READ = "import json, sys; [json.loads(line) for line in open(sys.argv[1], encoding='utf-8')]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="JSON lines only; they are printed in any case")
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    swarm = str(Path(sys.executable).with_name("swarm"))
    report("swarm --help", [swarm, "--help"], [sys.executable, "-c", "import typer"], runs)
    with tempfile.TemporaryDirectory() as folder:
        brain = Path(folder) / "swarm_brain.jsonl"
        write_brain(brain)
        ours = [swarm, "status", "--brain", str(brain), "--json"]
        report(f"swarm status, {RECORDS} records", ours, [sys.executable, "-c", PLAIN_READ, str(brain)], runs)


def report(bench: str, ours: list[str], baseline: list[str], runs: int) -> None:
    """Runs the two in turn, and prints the medians and their ratio."""
    pairs = [(seconds(ours), seconds(baseline)) for _ in range(runs + 1)][1:]
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    figure = {"bench": bench, "ours": round(mine, 4), "baseline": round(theirs, 4), "ratio": round(mine / theirs, 3)}
    print(json.dumps({**figure, "unit": "s", "n": runs}))


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def write_brain(path: Path) -> None:
    opened = StudyOpened(
        study_id="bench",
        target="resnext",
        target_folder="models/resnext",
        editable="train.py",
        base_commit="0" * 40,
        base_tree_sha256="",
        objective_sha256="",
        harness_sha256="",
        program_sha256="",
        budget=Budget(kind="samples", amount=1, walltime_limit_s=1),
        data="standin",
        classes=100,
        device="cpu",
        device_name="cpu",
        workers=2,
        seed=0,
        noise_replicates=5,
    )
    notes = [Note(study_id="bench", description=f"finding {number}") for number in range(RECORDS - 1)]
    Brain(path).append(opened, *notes)


if __name__ == "__main__":
    main()
