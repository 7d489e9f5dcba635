"""How far apart equal programs of `models/speed` come, alone and beside busy neighbours.

    python benchmarks/timing_noise.py --trials 6
    python benchmarks/timing_noise.py --trials 6 --neighbours 4

Two programs, each in trials of its own: the one that the target begins with, and one with every constant at the end of
its range that is faster. A neighbour copies 32 MiB back and forth without a pause. Prints one line a program: its
objective as mean, standard deviation of the trials, and CPU milliseconds of it and of the fixed program.
"""

import argparse
import multiprocessing
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from swarm.orchestrator.trying import Trier
from swarm.program import constants
from swarm.records import Scalar
from swarm.target.file import load_target
from swarm.trial.contract import code_root

FASTER: Mapping[str, Scalar] = {
    "SCANNER": "regex",
    "KEPT_TEMPLATES": 24,
    "SCOPES": "assign",
    "PATHS": "parsed",
    "ESCAPER": "replace",
    "KEPT_TEXTS": 429,
    "JOIN_AT": 200,
}
_BLOCK = 32 << 20


def copies() -> None:
    one, other = bytearray(_BLOCK), bytearray(_BLOCK)
    while True:
        one[:] = other
        other[:] = one


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    busy = [multiprocessing.Process(target=copies, daemon=True) for _ in range(count)]
    for process in busy:
        process.start()
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--neighbours", type=int, default=0)
    arguments = parser.parse_args()
    target, folder = load_target("speed", code_root()), code_root() / "models" / "speed"
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    source = files["render.py"].decode()
    assert target.grading is not None, "models/speed is graded"
    with tempfile.TemporaryDirectory() as place, neighbours(arguments.neighbours):
        budget = target.budget.of(target.profiles.cpu)
        trier = Trier(files, target.terms, budget, target.profiles.cpu.memory_mib, Path(place))
        for name, changes in (("as it came", {}), ("faster", FASTER)):
            extra = {"render.py": constants.assign(source, changes).encode()}
            tried = [trier.run(f"n{number}", target.grading, number, extra) for number in range(arguments.trials)]
            scores = [one.outcome.score for one in tried if one.outcome.score is not None]
            values = [score.validation_loss for score in scores]
            took, fixed = (statistics.fmean(s.metrics[key] for s in scores) for key in ("run_ms", "reference_ms"))
            sd = statistics.stdev(values) if len(values) > 1 else 0.0
            every = " ".join(f"{value:.3f}" for value in values)
            print(
                f"{name}: {statistics.fmean(values):.4f} sd {sd:.4f}, {took:.0f} of {fixed:.0f} ms: {every}", flush=True
            )


if __name__ == "__main__":
    main()
