"""Trials as the simulator sees them: a lineage of programs with heavy-tailed peaks, and what their memory does."""

import math
import random
from dataclasses import dataclass

CONTEXT_MIB = 450
"""True size of a CUDA context; the controller reserves 600 for it."""


@dataclass(frozen=True, slots=True)
class Peaks:
    """Log-normal peaks of the allocator, in MiB. The defaults span the original run: 3.8 to 7.6 GB, and a tail."""

    median_mib: float = 5400.0
    sigma: float = 0.35
    most_mib: float = 22_000.0


@dataclass(frozen=True, slots=True)
class Workload:
    """Shares of the trials that misbehave, and lengths in seconds. `walltime_limit_s` is where a trial is killed.

    `neutral_share`: edits of a constant that leave the memory as it was, as 6 of the 10 edits of the original run did
    (weight decay, schedule, activation); the others are structural, and a few double the batch.
    """

    peaks: Peaks = Peaks()
    duration_s: float = 300.0
    walltime_limit_s: float = 420.0
    spike_share: float = 0.02
    leak_share: float = 0.01
    raw_share: float = 0.005
    crash_share: float = 0.01
    growth_share: float = 0.05
    neutral_share: float = 0.6


@dataclass(frozen=True, slots=True)
class Step:
    """At `at_s` after its start the trial holds `allocator_mib`, and `raw_mib` that no allocator cap covers."""

    at_s: float
    allocator_mib: int
    raw_mib: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    job_id: str
    code: str
    parent: str
    batch_ratio: float
    structural: bool
    peak_mib: int
    steps: tuple[Step, ...]
    duration_s: float
    crashes: bool
    misbehaves: bool


def make_jobs(count: int, seed: int, workload: Workload) -> tuple[Job, ...]:
    """A random walk of programs; a tenth are replicates."""
    rng = random.Random(seed)
    peaks = workload.peaks
    programs: list[tuple[str, float]] = [("root", peaks.median_mib)]
    jobs = []
    for index in range(count):
        parent, parent_peak = programs[rng.randrange(max(0, len(programs) - 20), len(programs))]
        code, ratio, structural, peak = f"code{index}", 1.0, False, parent_peak
        if rng.random() < 0.1:
            code = parent
        elif rng.random() < workload.neutral_share:
            peak = parent_peak * rng.uniform(0.99, 1.01)
        elif rng.random() < workload.growth_share:
            ratio, peak = 2.0, parent_peak * rng.uniform(1.7, 2.0)
        else:
            structural = True
            # Pulled back to the median, or the walk would leave the card.
            drift = 0.3 * math.log(peaks.median_mib / parent_peak)
            peak = parent_peak * math.exp(drift + rng.gauss(0, peaks.sigma))
        peak = min(peaks.most_mib, max(200.0, peak))
        if code != parent:
            programs.append((code, peak))
        lineage = (code, parent)
        job = _job(index, lineage, ratio=ratio, structural=structural, peak=int(peak), rng=rng, workload=workload)
        jobs.append(job)
    return tuple(jobs)


def _job(
    index: int,
    lineage: tuple[str, str],
    *,
    ratio: float,
    structural: bool,
    peak: int,
    rng: random.Random,
    workload: Workload,
) -> Job:
    duration = workload.duration_s * rng.uniform(0.8, 1.1)
    steps = [Step(rng.uniform(2, 6), int(peak * 0.6)), Step(rng.uniform(8, 30), int(peak * 0.9))]
    # A larger evaluation batch, EMA copies: one job in five reaches its peak late, and no probe would see it.
    late = rng.random() < 0.2
    steps.append(Step(duration * (0.9 if late else 0.15), peak))
    kind, misbehaves = rng.random(), False
    if kind < workload.spike_share:
        at = duration * rng.uniform(0.3, 0.8)
        steps += [Step(at, int(peak * 1.04)), Step(at + 0.5, peak)]
    elif kind < workload.spike_share + workload.leak_share:
        misbehaves = True
        steps += [Step(duration * (0.3 + 0.06 * i), int(peak * (1.1 + 0.25 * i))) for i in range(10)]
    elif kind < workload.spike_share + workload.leak_share + workload.raw_share:
        misbehaves = True
        steps.append(Step(duration * 0.5, peak, raw_mib=rng.randrange(200, 600)))
    return Job(
        job_id=f"j{index:05d}",
        code=lineage[0],
        parent=lineage[1],
        batch_ratio=ratio,
        structural=structural,
        peak_mib=peak,
        steps=tuple(sorted(steps, key=lambda step: step.at_s)),
        duration_s=duration,
        crashes=rng.random() < workload.crash_share,
        misbehaves=misbehaves,
    )
