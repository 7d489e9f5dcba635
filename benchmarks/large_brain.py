"""What a brain of a million records costs whoever opens it: replay, status, report, and the memory that it takes.

    python benchmarks/large_brain.py [--records 1000000] [--study 4000]

Many studies of `--study` records each, as `benchmarks/brain.py` makes them, one after the other. One line of JSON.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import psutil
from brain import study_records

from swarm.brain import Brain
from swarm.report.summary import summarize

CHUNK = 50


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--study", type=int, default=4000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "brain.jsonl"
        began = time.perf_counter()
        write(path, asked.records // asked.study, asked.study)
        wrote_s = time.perf_counter() - began
        base_mib = psutil.Process().memory_info().rss >> 20
        began = time.perf_counter()
        state = Brain(path).snapshot()
        replay_s = time.perf_counter() - began
        assert state.seq == asked.records // asked.study * asked.study and state.latest is not None
        rss_mib = psutil.Process().memory_info().rss >> 20
        began = time.perf_counter()
        summarize(state.latest)
        status_s = time.perf_counter() - began
        print(
            json.dumps(
                {
                    "records": state.seq,
                    "file_mib": path.stat().st_size >> 20,
                    "write_s": round(wrote_s, 1),
                    "replay_s": round(replay_s, 1),
                    "replay_mib": rss_mib - base_mib,
                    "summary_of_latest_s": round(status_s, 2),
                    "load": psutil.getloadavg()[0],
                }
            )
        )
    return 0


def write(path: Path, studies: int, records: int) -> None:
    brain = Brain(path)
    for number in range(studies):
        study_id = f"bench-{number:06}"
        brain.append(*(record.model_copy(update={"study_id": study_id}) for record in study_records(records)))
        if number % CHUNK == CHUNK - 1:  # a writer's own state need not hold them all
            brain = Brain(path)


if __name__ == "__main__":
    raise SystemExit(main())
