"""The result of a simulation."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken invariant: its name (I1 to I12), when, and what was seen."""

    invariant: str
    at_s: float
    what: str


@dataclass(frozen=True, slots=True)
class SimulationReport:
    """`device_ooms`: the card was full (somebody else's fault); `own_ooms`: a job passed its own cap and was repeated.

    `over_reservation`: mean of (reservation - context - peak) / peak; None for policies that reserve nothing.
    `abandoned`: trials that ended with their card.
    `utilisation`: share of the cards' usable memory that jobs held, over the makespan. Trials have a fixed length, so
    the makespan measures packing; what sharing does to the speed of a training is not modelled.
    """

    policy: str
    cards: int
    workers: int
    jobs: int
    seed: int
    finished: int
    infeasible: int
    device_ooms: int
    own_ooms: int
    kills: int
    crashes: int
    abandoned: int
    lost_work_s: float
    makespan_s: float
    wait_mean_s: float
    wait_p99_s: float
    utilisation: float
    over_reservation: float | None
    under_prediction_rate: float | None
    most_running: int
    decision_p50_us: float
    decision_p99_us: float
    log_sha256: str
    violations: tuple[Violation, ...]

    @property
    def ooms_per_1000(self) -> float:
        """Out-of-memory events of either kind per 1,000 trials."""
        return 1000 * (self.device_ooms + self.own_ooms) / max(1, self.jobs)

    @property
    def device_ooms_per_1000(self) -> float:
        return 1000 * self.device_ooms / max(1, self.jobs)
