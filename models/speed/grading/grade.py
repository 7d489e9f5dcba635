"""Compares the pages of each round with what they must be, and the times that the supervisor has measured.

The objective is the CPU time of the program as a share of the fixed one's in the same round: the geometric mean over
the rounds without the highest and the lowest.
"""

import json
import math
from pathlib import Path


def answer(metrics, why=""):
    flags = ["wrong_pages"] if metrics.get("wrong") else []
    print(json.dumps({"metrics": metrics, "valid": not why, "why": why, "flags": flags}))


def right(pages, wanted):
    """How many pages are what they must be; None where these are no pages."""
    if not isinstance(pages, list) or not all(isinstance(page, str) for page in pages):
        return None
    if len(pages) != len(wanted):
        return 0
    return sum(page == true for page, true in zip(pages, wanted, strict=True))


def main():
    times = json.loads(Path("rounds.json").read_text())
    good, asked = 0, 0
    for number in range(1, len(times) + 1):
        folder = Path("rounds") / str(number)
        wanted = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
        made = {
            who: right(json.loads((folder / who / "pages.json").read_bytes()), wanted) for who in ("run", "reference")
        }
        if made["reference"] != len(wanted):
            return answer({}, f"the fixed program got {made['reference']} of {len(wanted)} pages right")
        if made["run"] is None:
            return answer({}, "outputs/pages.json must hold a list of texts, one a page")
        good, asked = good + made["run"], asked + len(wanted)
    logs = sorted(math.log(one["run"]["cpu_s"] / one["reference"]["cpu_s"]) for one in times)
    kept = logs[1:-1] if len(logs) > 3 else logs
    answer(
        {
            "cpu_time": math.exp(sum(kept) / len(kept)),
            "correct": good / asked,
            "wrong": asked - good,
            "run_ms": 1000 * sum(one["run"]["cpu_s"] for one in times) / len(times),
            "reference_ms": 1000 * sum(one["reference"]["cpu_s"] for one in times) / len(times),
            "spread": math.exp(logs[-1] - logs[0]),
        }
    )


main()
