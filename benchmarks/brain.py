"""The brain against Optuna's JournalFileBackend: appends by several processes, replay, incremental read.

    python benchmarks/brain.py [--json] [--folder DIR]

Both write the same payload, both hold their lock and fsync for each append; ours also validates, numbers and chains
the record and catches up with the other writers. Rounds of the two alternate and medians are reported. One line a
figure: `ours` and `baseline` in `unit`, `ratio` above 1 is better for ours. The reading figures have a limit instead
of a baseline, and their ratio is limit / ours.
"""

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path

from optuna.storages.journal import JournalFileBackend

from swarm.brain import Brain
from swarm.records import (
    Budget,
    Operator,
    ProposalClaimed,
    Record,
    Resources,
    Score,
    StudyOpened,
    TrialFinished,
    TrialStarted,
    TrialState,
    WorkerStatus,
)

APPENDS = 1600
ROUNDS = 3
REPLAYED = 100_000
REPLAY_LIMIT_S = 3.0
INCREMENT = 1000
INCREMENT_LIMIT_MS = 50.0
Figure = dict[str, str | float | int]
STUDY = "bench-20260101-000000-0000"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--folder", type=Path, help="where to write; default: the system's temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for figure in figures(Path(folder)):
            print(json.dumps(figure) if options.json else as_text(figure), flush=True)
    return 0


def figures(folder: Path) -> Iterator[Figure]:
    for processes in (1, 2, 8):
        ours, baseline = [], []
        for round_ in range(ROUNDS):
            ours.append(appends_per_s(append_to_brain, folder / f"brain-{processes}-{round_}.jsonl", processes))
            baseline.append(appends_per_s(append_to_journal, folder / f"journal-{processes}-{round_}", processes))
        mine, theirs = statistics.median(ours), statistics.median(baseline)
        yield figure(
            f"brain.append.{processes}_processes", mine, theirs, ratio=mine / theirs, unit="appends/s", n=APPENDS
        )
    path = folder / "large.jsonl"
    Brain(path).append(*study_records(REPLAYED))
    seconds = statistics.median(replay_s(path) for _ in range(ROUNDS))
    yield figure("brain.cold_replay", seconds, REPLAY_LIMIT_S, ratio=REPLAY_LIMIT_S / seconds, unit="s", n=REPLAYED)
    for count in (1, INCREMENT):
        ms = statistics.median(incremental_read_ms(path, count) for _ in range(ROUNDS))
        yield figure(
            f"brain.incremental_read_of_{count}",
            ms,
            INCREMENT_LIMIT_MS,
            ratio=INCREMENT_LIMIT_MS / ms,
            unit="ms",
            n=count,
        )


def appends_per_s(append: Callable[[Path, int, Barrier], None], path: Path, processes: int) -> float:
    """From the moment when all writers are ready until the last one is done."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes + 1)
    writers = [context.Process(target=append, args=(path, APPENDS // processes, barrier)) for _ in range(processes)]
    for writer in writers:
        writer.start()
    barrier.wait()
    began = time.perf_counter()
    barrier.wait()
    seconds = time.perf_counter() - began
    for writer in writers:
        writer.join()
    return APPENDS / seconds


def append_to_brain(path: Path, count: int, barrier: Barrier) -> None:
    brain, record = Brain(path), finished(2)
    barrier.wait()
    for _ in range(count):
        brain.append(record)
    barrier.wait()


def append_to_journal(path: Path, count: int, barrier: Barrier) -> None:
    journal, payload = JournalFileBackend(str(path)), finished(2).model_dump(mode="json")
    barrier.wait()
    for _ in range(count):
        journal.append_logs([payload])
    barrier.wait()


def replay_s(path: Path) -> float:
    began = time.perf_counter()
    state = Brain(path).snapshot()
    seconds = time.perf_counter() - began
    assert state.seq >= REPLAYED
    return seconds


def incremental_read_ms(path: Path, count: int) -> float:
    reader = Brain(path)
    before = reader.snapshot().seq
    Brain(path).append(*(WorkerStatus(study_id=STUDY, status="training") for _ in range(count)))
    began = time.perf_counter()
    state = reader.snapshot()
    ms = (time.perf_counter() - began) * 1e3
    assert state.seq == before + count
    return ms


def study_records(count: int) -> Iterator[Record]:
    """A study as it is in use: of each five records one is a claim, one a start, one an ending, two are status."""
    yield opened()
    for number in range(2, count + 1):
        trial = number // 5 + 1
        match number % 5:
            case 0:
                yield claimed(trial)
            case 1:
                yield started(trial)
            case 2:
                yield finished(trial)
            case _:
                yield WorkerStatus(study_id=STUDY, agent_id="worker_1", status="training", trial_id=name(trial))


def name(trial: int) -> str:
    return f"t{trial:04d}"


def opened() -> StudyOpened:
    return StudyOpened(
        study_id=STUDY,
        target="resnext",
        target_folder="models/resnext",
        editable="train.py",
        base_commit="0" * 40,
        base_tree_sha256="1" * 64,
        objective_sha256="2" * 64,
        harness_sha256="3" * 64,
        program_sha256="4" * 64,
        budget=Budget(kind="samples", amount=20_000, walltime_limit_s=120),
        data="standin",
        classes=100,
        device="cpu",
        device_name="cpu",
        workers=2,
        seed=1,
        noise_replicates=5,
    )


def claimed(trial: int) -> ProposalClaimed:
    return ProposalClaimed(
        study_id=STUDY,
        agent_id="worker_1",
        description="raise the peak learning rate from 1e-2 to 2e-2",
        trial_id=name(trial),
        program=name(trial),
        operator=Operator.TUNE,
        family="schedule",
        parent="t0001",
        tree_sha256="5" * 64,
        constants_changed={"MAX_LR": (0.01, 0.02)},
        seed=trial,
        read_seq=trial,
        briefing_sha256="6" * 64,
        cites=("7" * 32, "8" * 32),
        proposer="tpe",
    )


def started(trial: int) -> TrialStarted:
    return TrialStarted(
        study_id=STUDY,
        agent_id="worker_1",
        trial_id=name(trial),
        commit="9" * 40,
        reservation_mib=2048,
        lease_id="a" * 16,
        device_uuid="cpu",
    )


def finished(trial: int) -> TrialFinished:
    return TrialFinished(
        study_id=STUDY,
        agent_id="worker_1",
        description="raise the peak learning rate from 1e-2 to 2e-2",
        validation_loss=3.21,
        trial_id=name(trial),
        state=TrialState.COMPLETE,
        score=Score(validation_loss=3.21, top1=0.21, top5=0.5, calibrated_loss=3.2, rows=5000),
        resources=Resources(device="cpu", threads=1, steps=300, samples=20_000, training_s=18.2, wall_s=22.5),
        seed=trial,
        commit="9" * 40,
        curve=tuple((step / 10, 4.6 - step / 10) for step in range(10)),
    )


def figure(bench: str, ours: float, baseline: float, *, ratio: float, unit: str, n: int) -> Figure:
    return {
        "bench": bench,
        "ours": round(ours, 3),
        "baseline": round(baseline, 3),
        "ratio": round(ratio, 2),
        "unit": unit,
        "n": n,
    }


def as_text(figure: Figure) -> str:
    return "{bench:32} {ours:>10} {unit}, against {baseline} ({ratio}x, n={n})".format(**figure)


if __name__ == "__main__":
    sys.exit(main())
