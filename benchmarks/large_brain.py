"""What a brain of a million records costs whoever opens it: replay, status, report, and the memory that it takes.

    python benchmarks/large_brain.py [--records 1000000] [--study 4000]

Many studies of `--study` records each, as `benchmarks/brain.py` makes them, one after the other. One line of JSON.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from pathlib import Path

import psutil
from brain import study_records

from swarm.brain import Brain
from swarm.report.contents import sections
from swarm.report.summary import summarize

CHUNK = 50  # studies of one write


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--study", type=int, default=4000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "brain.jsonl"
        write(path, asked.records // asked.study, asked.study)
        with multiprocessing.get_context("spawn").Pool(1) as reader:  # with a memory of its own
            print(json.dumps(reader.apply(read, (path,))))
    return 0


def read(path: Path) -> dict[str, float]:
    process = psutil.Process()
    before_mib, began = process.memory_info().rss >> 20, time.perf_counter()
    state = Brain(path).snapshot()
    replay_s = time.perf_counter() - began
    rss_mib = process.memory_info().rss >> 20
    assert state.latest is not None
    began = time.perf_counter()
    summarize(state.latest)
    status_s = time.perf_counter() - began
    began = time.perf_counter()
    sections(state.latest)
    report_s = time.perf_counter() - began
    return {
        "records": state.seq,
        "file_mib": path.stat().st_size >> 20,
        "replay_s": round(replay_s, 1),
        "replay_mib": rss_mib - before_mib,
        "summary_of_latest_s": round(status_s, 2),
        "report_of_latest_s": round(report_s, 2),
        "load": round(psutil.getloadavg()[0], 1),
    }


def write(path: Path, studies: int, records: int) -> None:
    """The first study by the brain itself; the others are its lines with other names, chained anew."""
    first = Brain(path.with_name("first.jsonl"))
    first.append(*study_records(records))
    lines = [json.loads(line) for line in first.path.read_text(encoding="utf-8").splitlines()]
    for start in range(0, studies, CHUNK):
        numbers = range(start, min(studies, start + CHUNK))
        raw = [
            json.dumps({**line, "study_id": f"bench-{number:06}", "id": f"{number}-{index}"}).encode()
            for number in numbers
            for index, line in enumerate(lines)
        ]
        Brain(path).take(lambda _, made=raw: made)


if __name__ == "__main__":
    raise SystemExit(main())
