"""Does a recorded trial give the same result once more? Pure.

The same program, seed and work on the same machine gives the same digits on a CPU with one thread. Elsewhere rounding
differs, and after some thousand steps such a run is as good as one with another seed; so what differs is compared with
the noise between seeds.
"""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict

from swarm.records import Line
from swarm.verdict.evidence import NoiseFloor, student_tail

BY_CHANCE = 0.01  # of honest trials that differ this far from their rerun
DIGITS = 6

Finding = Literal["identical", "within the noise", "differs", "failed", "another program"]


class Rerun(BaseModel):
    """One line of the audit. Costs: less is better."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["rerun"] = "rerun"
    at: float
    study_id: Line
    trial_id: Line
    seed: int
    work: Line
    recorded: float
    again: float | None
    sigma: float | None
    degrees: int | None
    finding: Finding
    why: Line

    @property
    def reproduced(self) -> bool:
        return self.finding in ("identical", "within the noise")


def finding(recorded: float, again: float, noise: NoiseFloor | None) -> tuple[Finding, str]:
    """Two runs of one program differ by a standard deviation of sigma * sqrt(2); two-sided t test."""
    apart = abs(again - recorded)
    if round(apart, DIGITS) == 0:
        return "identical", f"the same to {DIGITS} digits"
    if noise is None or noise.sigma == 0.0:
        return "differs", f"{apart:.6f} apart, and the study has no noise floor to compare that with"
    chance = 2 * student_tail(apart / (noise.sigma * math.sqrt(2)), noise.degrees)
    told = f"{apart:.6f} apart, {apart / noise.sigma:.1f} sigma; so far or further in {chance:.1%} of honest reruns"
    return ("within the noise" if chance >= BY_CHANCE else "differs"), told
