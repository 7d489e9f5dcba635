"""What a brain of a million records costs whoever opens it: replay, status, report, and the memory that it takes.

    python benchmarks/large_brain.py [--records 1000000] [--study 4000]

Many studies of `--study` records each, as `benchmarks/brain.py` makes them, one after the other, written once to a
temporary file. Prints one line of JSON: seconds by the clock and seconds of CPU, since other work on the machine shows
in the former alone. Exit code 1 when a cost is over its limit (LIMITS, for a million records in proportion).
"""

import argparse
import hashlib
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from brain import study_records

from swarm.brain import Brain
from swarm.brain.lines import GENESIS
from swarm.report.contents import sections
from swarm.report.summary import summarize

MILLION = 1_000_000
LIMITS = {"replay_cpu_s": 60.0, "replay_mib": 2048.0}  # of a million records
LATEST_LIMITS = {"summary_cpu_s": 1.0, "report_cpu_s": 5.0, "append_cpu_s": 0.5}  # of the latest study, whatever else


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=MILLION)
    parser.add_argument("--study", type=int, default=4000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "brain.jsonl"
        write(path, asked.records // asked.study, asked.study)
        with multiprocessing.get_context("spawn").Pool(1) as reader:  # with a memory of its own
            found = reader.apply(read, (path,))
    allowed = {name: limit * max(0.05, asked.records / MILLION) for name, limit in LIMITS.items()} | LATEST_LIMITS
    over = {name: limit for name, limit in allowed.items() if found[name] > limit}
    print(json.dumps({**found, "over": over}))
    return 1 if over else 0


def read(path: Path) -> dict[str, float]:
    """What a process pays that opens this brain."""
    process = psutil.Process()
    before_mib = process.memory_info().rss >> 20
    brain = Brain(path)
    replayed = cost(brain.snapshot)
    rss_mib = process.memory_info().rss >> 20
    state = brain.snapshot()
    latest = state.latest
    assert latest is not None
    again = latest.opened.model_copy(update={"id": "", "seq": 0, "prev": ""})
    costs = {
        "replay": replayed,
        "summary": cost(lambda: summarize(latest)),
        "report": cost(lambda: sections(latest)),
        "append": cost(lambda: brain.append(again)),
    }
    return {
        "records": state.seq - 1,
        "file_mib": path.stat().st_size >> 20,
        "replay_mib": rss_mib - before_mib,
        **{f"{name}_s": round(wall, 2) for name, (wall, _) in costs.items()},
        **{f"{name}_cpu_s": round(cpu, 2) for name, (_, cpu) in costs.items()},
        "load": round(psutil.getloadavg()[0], 1),
    }


def cost(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def write(path: Path, studies: int, records: int) -> None:
    """The first study by the brain itself; the others are its lines with other names, chained anew."""
    first = Brain(path.with_name("first.jsonl"))
    first.append(*study_records(records))
    lines = [json.loads(line) for line in first.path.read_text(encoding="utf-8").splitlines()]
    seq, prev = 0, GENESIS
    with path.open("wb") as file:
        for number in range(studies):
            for index, line in enumerate(lines):
                seq += 1
                fields = {**line, "study_id": f"bench-{number:06}", "id": f"{number}-{index}", "seq": seq, "prev": prev}
                raw = json.dumps(fields, separators=(",", ":")).encode()
                file.write(raw + b"\n")
                prev = hashlib.sha256(raw).hexdigest()


if __name__ == "__main__":
    raise SystemExit(main())
