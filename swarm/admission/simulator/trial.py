"""One trial of the simulation, on its way through its attempts."""

from dataclasses import dataclass

from swarm.admission.policy.oom import Retry
from swarm.admission.policy.predict import Prediction
from swarm.admission.simulator.workload import Job


@dataclass
class Run:
    """`memory_mib`: what it asks for, and from its start what it was granted. `attempt` counts what was its own fault,
    `number` every run."""

    job: Job
    worker: int
    prediction: Prediction
    memory_mib: int
    alone: bool = False
    attempt: int = 0
    number: int = 0
    submitted_s: float = 0.0
    started_s: float = 0.0
    card: str = ""

    @property
    def run_id(self) -> str:
        return f"{self.job.job_id}.{self.number}"

    def again(self, retry: Retry) -> "Run":
        return Run(
            self.job, self.worker, self.prediction, retry.memory_mib, retry.alone, retry.attempt, self.number + 1
        )
