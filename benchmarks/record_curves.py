"""Records whole trainings with their losses at the rungs, for `benchmarks/early_stop.py`; goes on where the file ends.

    nice -n 5 python benchmarks/record_curves.py [--file benchmarks/data/curves.jsonl] [--limit N]

Four programs are what workers could have built on in one night, each the one before with one more change:
models/resnext with the constants of its CPU profile (`start`), then orthogonal steps (`muon`), then smaller feature
maps (`small`), then a gate for channels (`gated`). Each is trained with several seeds, and changes of it once each:

    edit        every edit of the embedded edit library that applies
    good        every hand-written change of benchmarks/good_programs.py that fits
    constants   one to three declared constants, anywhere in their spaces or near by, by lot

A training costs BUDGET_S of reckoned work (benchmarks/standin_training.py), so that neither the machine's load nor its
speed changes a line, is evaluated on the rung slice at RUNGS, and is scored on all 5,000 validation images. A line
has the program's name, what it is a change of, and `cpu_s`, the CPU seconds that the recording took.
"""

import argparse
import hashlib
import json
import math
import random
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import standin_training  # first: it loads torch in a way that forks survive

# isort: split
from good_programs import BY_NAME, CHANGES, DoesNotFit

from swarm.harness.errors import Diverged
from swarm.harness.prepare import prepare
from swarm.harness.score_phase import read_logits
from swarm.harness.scoring import score
from swarm.program import constants
from swarm.program.families import family_of
from swarm.records import Scalar
from swarm.target.file import load_target
from workers.proposers.library import EDITS
from workers.proposers.spaces import at, differences, searched, values_of

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "benchmarks" / "data" / "curves.jsonl"
BUDGET_S = 5.0
RUNGS = (0.25, 0.5, 0.6, 0.75, 0.9)
LINE = (("start", None, 6), ("muon", "muon", 4), ("small", "small_maps", 4), ("gated", "attention_to_channels", 4))
"""Each program's name, what it adds to the one before, and how many seeds it is trained with."""
LOTS = 8  # changes of constants a program
MOVED = (1, 1, 2, 3)
LOTS_SEED = 16


@dataclass(frozen=True)
class Job:
    """One training to be done. `parent` is the program that it changes, None for the first."""

    name: str
    parent: str | None
    kind: str
    family: str
    source: str
    seed: int

    @property
    def key(self) -> str:
        """One text for what decides a training."""
        parts = [self.source, self.seed, BUDGET_S, RUNGS, prepare("standin").version]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, default=FILE)
    parser.add_argument("--limit", type=int, default=None, help="trainings at most")
    options = parser.parse_args()
    done = {row["key"] for row in rows(options.file)}
    owed = [job for job in jobs() if job.key not in done][: options.limit]
    print(f"{len(done)} lines in {options.file}, {len(owed)} trainings to do", file=sys.stderr, flush=True)
    for number, job in enumerate(owed, start=1):
        row = {"key": job.key, "name": job.name, "parent": job.parent, "kind": job.kind, "family": job.family}
        row |= {"seed": job.seed, **recorded(job)}
        with options.file.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{number}/{len(owed)} {job.name}: {row['reason'] or row['loss']}", file=sys.stderr, flush=True)


def rows(file: Path) -> list[dict[str, Any]]:
    """The recorded lines; an unfinished last line is left out."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]


def jobs() -> list[Job]:
    """The programs of the line first, then their changes, one of each kind and program in turn."""
    line = programs()
    runs = [
        Job(
            name,
            parents(name),
            "base",
            "baseline" if parents(name) is None else BY_NAME[added].family,
            line[name],
            100 + seed,
        )
        for name, added, seeds in LINE
        for seed in range(seeds)
    ]
    queues = [list(changes(name, line)) for name in line]
    mixed = [job for place in range(max(map(len, queues))) for queue in queues for job in queue[place : place + 1]]
    return runs + mixed


def programs() -> dict[str, str]:
    target = load_target("resnext", ROOT)
    source = target.base_source((ROOT / target.folder / target.editable).read_text(), target.profiles.cpu)
    found = {}
    for name, added, _ in LINE:
        source = BY_NAME[added].apply(source) if added is not None else source
        found[name] = source
    return found


def parents(name: str) -> str | None:
    names = [name for name, _, _ in LINE]
    return names[names.index(name) - 1] if names.index(name) else None


def changes(base: str, line: Mapping[str, str]) -> Iterator[Job]:
    """Good ones, edits and constants in turn; programs that are already there are left out."""
    known = set(line.values())
    good, edits, lots = list(hand_written(line[base])), list(library(line[base])), list(by_lot(base, line[base]))
    for place in range(max(len(good), len(edits), len(lots))):
        for kind, found in (("good", good), ("edit", edits), ("constants", lots)):
            for name, family, source in found[place : place + 1]:
                if source not in known:
                    known.add(source)
                    yield Job(f"{base} + {name}", base, kind, family, source, 1 + place)


def hand_written(source: str) -> Iterator[tuple[str, str, str]]:
    for change in CHANGES:
        try:
            yield change.name, change.family, change.apply(source)
        except DoesNotFit:
            continue


def library(source: str) -> Iterator[tuple[str, str, str]]:
    for edit in EDITS:
        if edit.applies(source):
            yield edit.name, edit.family, edit.apply(source)


def by_lot(base: str, source: str) -> Iterator[tuple[str, str, str]]:
    """LOTS settings: by turns anywhere in the spaces, and within a tenth of a space around the program's own value."""
    rng, spaces, own = random.Random(f"{LOTS_SEED} {base}"), searched(source), values_of(source)
    found: list[dict[str, Scalar]] = []
    while len(found) < LOTS:
        names = rng.sample(list(spaces), rng.choice(MOVED))
        settings = {name: at(spaces[name], rng.random()) for name in names}
        if len(found) % 2:
            settings = {name: near(source, name, rng) for name in names}
        moved = differences(spaces, own, settings)
        if moved and moved not in found:
            found.append(moved)
            told = ", ".join(f"{name}={value}" for name, value in moved.items())
            yield told, family_of(next(iter(moved))), constants.assign(source, moved)


def near(source: str, name: str, rng: random.Random) -> Scalar:
    """One of a hundred places of the space, at most ten away from the nearest to the program's own value."""
    space, own = searched(source)[name], values_of(source)[name]
    places = [at(space, (place + 0.5) / 100) for place in range(100)]
    if isinstance(own, bool | str):
        return rng.choice(places)
    middle = min(range(100), key=lambda place: abs(float(places[place]) - float(own)))
    return places[min(99, max(0, middle + rng.randint(-10, 10)))]


def recorded(job: Job) -> dict[str, Any]:
    return standin_training.fields_from_a_fork(lambda folder: train(job, folder))


def train(job: Job, folder: Path) -> dict[str, Any]:
    """One training with its rungs and its score, in this process, which can have no other."""
    began = time.process_time()
    images, config, code = standin_training.train_only(job.source, job.seed, BUDGET_S, folder, RUNGS)
    row: dict[str, Any] = {"loss": None, "reason": None, "images": images, "rungs": []}
    if config is None:
        row["reason"] = "timeout"
        return row
    labels = prepare("standin").layout.read(prepare("standin").layout.labels("rung"))
    for rung in RUNGS:
        path = config.folder.rung_logits(round(100 * rung))
        if path.exists():
            row["rungs"].append((rung, round(score(read_logits(path, len(labels)), labels).validation_loss, 5)))
    if code == 0:
        loss = standin_training.validation_loss(config, slice(None))
        row |= {"reason": "diverged"} if math.isnan(loss) else {"loss": loss}
    else:
        row["reason"] = "diverged" if code == Diverged.exit_code else "crashed"
    return row | {"cpu_s": round(time.process_time() - began, 2)}


if __name__ == "__main__":
    main()
