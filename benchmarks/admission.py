"""Admission by reserved MiB against what people do by hand, in the simulator.

python benchmarks/admission.py            the table of docs/explanation/admission.md
python benchmarks/admission.py --json     one line a figure: bench, ours, baseline, ratio, unit, n
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from swarm.admission.simulator import Peaks, PolicyName, SimulationReport, Workload, simulate

BASELINES: tuple[PolicyName, ...] = ("sequential", "count=2", "count=3", "free-memory-now")


@dataclass(frozen=True)
class Scene:
    name: str
    cards: int
    workers: int
    jobs: int
    peaks: Peaks


SCENES = (
    Scene("1 card, 2 workers", 1, 2, 2_000, Peaks()),
    Scene("1 card, 3 workers", 1, 3, 2_000, Peaks()),
    Scene("500 cards, 1,000 workers", 500, 1_000, 6_000, Peaks(9_000, 0.4)),
)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON line a figure")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    for scene in SCENES:
        reports = [run(scene, policy, options.seed) for policy in ("swarm", *BASELINES)]
        if options.json:
            for line in figures(scene, reports):
                print(json.dumps(line), flush=True)
        else:
            print(table(scene, reports), flush=True)
    return 0


def run(scene: Scene, policy: PolicyName, seed: int) -> SimulationReport:
    return simulate(scene.cards, scene.workers, scene.jobs, seed, policy=policy, workload=Workload(scene.peaks))


def table(scene: Scene, reports: Sequence[SimulationReport]) -> str:
    lines = [
        f"\n{scene.name}, {scene.jobs} trials\n",
        "| policy | device OOM / 1,000 | own-cap OOM / 1,000 | given up / 1,000 | work lost (h) | makespan (h) "
        "| over-reservation | p99 wait (s) | memory in use | decision p99 (µs) |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for report in reports:
        over = "-" if report.over_reservation is None else f"{report.over_reservation:.0%}"
        decision = f"{report.decision_p99_us:.0f}" if report.policy == "swarm" else "-"
        lines.append(
            f"| {report.policy} | {report.device_ooms_per_1000:.1f} "
            f"| {report.ooms_per_1000 - report.device_ooms_per_1000:.1f} "
            f"| {1000 * report.infeasible / report.jobs:.1f} | {report.lost_work_s / 3600:.1f} "
            f"| {report.makespan_s / 3600:.2f} | {over} | {report.wait_p99_s:.0f} | {report.utilisation:.0%} "
            f"| {decision} |"
        )
    return "\n".join(lines)


def figures(scene: Scene, reports: Sequence[SimulationReport]) -> list[dict[str, object]]:
    ours, *baselines = reports
    lines = [
        figure(f"admission/{scene.name}/decision p99", ours.decision_p99_us, 1000.0, "us", scene.jobs),
    ]
    for other in baselines:
        for label, unit, read in (
            ("device OOM per 1,000", "count", lambda report: report.device_ooms_per_1000),
            ("given up per 1,000", "count", lambda report: 1000 * report.infeasible / report.jobs),
            ("makespan", "h", lambda report: report.makespan_s / 3600),
            ("p99 wait", "s", lambda report: report.wait_p99_s),
            ("memory in use", "share", lambda report: report.utilisation),
        ):
            name = f"admission/{scene.name}/{label} against {other.policy}"
            lines.append(figure(name, read(ours), read(other), unit, scene.jobs))
    return lines


def figure(bench: str, ours: float, baseline: float, unit: str, n: int) -> dict[str, object]:
    """`ratio` is ours over the baseline; None where the baseline is zero."""
    ratio = round(ours / baseline, 4) if baseline else None
    return {
        "bench": bench,
        "ours": round(ours, 4),
        "baseline": round(baseline, 4),
        "ratio": ratio,
        "unit": unit,
        "n": n,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
