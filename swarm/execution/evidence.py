"""What is known of an attempt that is over: the supervisor's account, and the candidate's word in its report.

The report may say anything, as long as it fits into a record. It is shown, and believed in nothing that counts.
"""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from swarm.admission import OomReport
from swarm.admission.policy.oom import LACKS
from swarm.records import Budget
from swarm.supervisor import PhaseResult, TrialResult
from swarm.trial.asked import ASKED, Harness
from swarm.trial.config import Device, Split
from swarm.trial.contract import Phase
from swarm.trial.files import read_json
from swarm.trial.folder import TrialFolder

OWN_ALLOWANCE_S = 0.5  # CPU seconds of a candidate's own that no clock has: what is free of the set-up, and the hand-in
ALLOWANCE_SHARE = 0.03  # of the budget, on top of it
PREDICT_ALLOWANCE_S = {"cpu": 0.5, "cuda": 30.0}  # building the model, loading the weights; and ALLOWANCE_SHARE
PREDICT_SHARE = 1.0  # of the training's time, for the validation split: more is no mere prediction
FORWARD_SHARE = 1.25  # of what an image costs in training: an honest forward pass is about a third of it
TRAINING_FORWARDS = (
    12  # a step on an image, in forward passes: about three, seven with two passes, more in small batches
)
ALLOWANCE_S = 0.5  # of a training, for what does not depend on its images
RUNG_SHARE = 0.5  # the same, of the images at a rung
MIB = 1 << 20


class MeterReport(BaseModel):
    """What the budget's meter found on a shared GPU; elsewhere it has nothing to say."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    drift_flag: bool = False
    measured_alone: bool = True


class TrainReport(BaseModel):
    """What the candidate's process wrote about itself."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, str_max_length=120)

    steps: int | None = None
    samples: int | None = None
    training_seconds: float | None = None
    wall_seconds: float | None = None
    loop_cpu_seconds: float | None = None
    off_clock_steps: int = 0
    optimizer_steps: int = 0
    num_params_M: float | None = None  # noqa: N815 - the name in the original run's log
    peak_reserved_mib: float | None = None
    alloc_retries: int | None = None
    cap_lifted: bool = False
    curve: tuple[tuple[float, float], ...] = Field(default=(), max_length=100)
    overhead_s: dict[str, float] = Field(default={}, max_length=20)
    solo_rate: float | None = None
    compilation: str | None = None
    own_seed: bool = False
    meter: MeterReport = MeterReport()
    compile_seconds: float | None = None
    torch: str | None = None


@dataclass(frozen=True)
class Terms:
    """What a trial was allowed."""

    budget: Budget
    device: Device
    threads: int
    split: Split = "val"
    harness: Harness = "images"

    @property
    def images(self) -> dict[Phase, int]:
        """That are asked about in each prediction; of text it is windows."""
        asked = ASKED[self.harness]
        return {Phase.PREDICT: asked.rows(self.split), Phase.REPEAT: asked.repeated(self.split)}

    @property
    def cpu_budget_s(self) -> float | None:
        """CPU seconds that the budget allows; None where it is no measure of a CPU's work."""
        if self.device != "cpu" or self.budget.kind == "samples":
            return None
        return self.budget.amount * (self.threads if self.budget.kind == "seconds" else 1)


@dataclass(frozen=True)
class Evidence:
    """One attempt, once no process of it is left. `reported`: the candidate left a report of the right shape."""

    folder: TrialFolder
    result: TrialResult
    terms: Terms
    train: TrainReport
    reported: bool

    @classmethod
    def of(cls, folder: TrialFolder, result: TrialResult, terms: Terms) -> "Evidence":
        try:
            report = TrainReport.model_validate(read_json(folder.train_report))
        except ValidationError:
            return cls(folder, result, terms, TrainReport(), reported=False)
        return cls(folder, result, terms, report, reported=True)

    @property
    def failed_phase(self) -> PhaseResult | None:
        return next((phase for phase in self.result.phases if phase.ending != "ok"), None)

    @property
    def wall_s(self) -> float:
        return sum(phase.seconds for phase in self.result.phases)

    def own_s(self, phase: Phase) -> float:
        """What the candidate's own code took in a phase: CPU seconds of all its processes on a CPU, counted from
        outside, and wall seconds on a GPU."""
        on_cpu = self.terms.device == "cpu"
        return sum(found.own_cpu_s if on_cpu else found.own_s for found in self.result.phases if found.name == phase)

    @property
    def train_limit_s(self) -> float | None:
        """CPU seconds that the candidate's own code may take in training: the budget, the step that was begun within
        it, the rungs at the price of a forward pass, and a small allowance."""
        budget_s = self.terms.cpu_budget_s
        if budget_s is None:
            return self._samples_limit_s
        step_s = min(budget_s / max(1, self.train.steps or 1), 0.05 * budget_s)
        forward_s = min(FORWARD_SHARE * self.forward_s, RUNG_SHARE * budget_s / max(1, self.train.samples or 1))
        rungs_s = ASKED[self.terms.harness].rung * forward_s * sum(len(phase.rungs) for phase in self.result.phases)
        return (1 + ALLOWANCE_SHARE) * budget_s + step_s + rungs_s + OWN_ALLOWANCE_S

    @property
    def forward_s(self) -> float:
        """What a forward pass of an image took in predict, without what it takes for any number of them."""
        asked_s = max(0.0, self.own_s(Phase.PREDICT) - self.own_s(Phase.REPEAT))
        images = self.terms.images
        return asked_s / (images[Phase.PREDICT] - images[Phase.REPEAT])

    @property
    def _samples_limit_s(self) -> float | None:
        """Where images are counted: what the loop says it took, if an image in training costs no more than so many
        forward passes; and the allowance."""
        loop_s = self.train.loop_cpu_seconds
        if self.terms.device != "cpu" or loop_s is None or self.own_s(Phase.REPEAT) == 0:
            return None
        most_s = TRAINING_FORWARDS * self.forward_s * self.terms.budget.amount + ALLOWANCE_S
        return (1 + ALLOWANCE_SHARE) * min(loop_s, most_s) + OWN_ALLOWANCE_S

    def predict_limit_s(self, images: int) -> float:
        """Seconds for a prediction: as many forward passes as there are images, priced by the training."""
        train_s = self.own_s(Phase.TRAIN)
        fixed_s = PREDICT_ALLOWANCE_S[self.terms.device] + ALLOWANCE_SHARE * train_s
        if self.terms.budget.kind == "samples":
            return FORWARD_SHARE * images * train_s / self.terms.budget.amount + fixed_s
        forwards_s = FORWARD_SHARE * images * train_s / max(1, self.train.samples or 1)
        share = PREDICT_SHARE * images / ASKED[self.terms.harness].val
        return min(forwards_s, share * train_s) + fixed_s

    @property
    def predicted_too_long(self) -> bool:
        return any(self.own_s(phase) > self.predict_limit_s(images) for phase, images in self.terms.images.items())

    @property
    def host_peak_mib(self) -> int | None:
        """The most RAM that one of its processes held, as the kernel saw it; None when none was waited for."""
        return max((int(phase.peak_rss_mib) for phase in self.result.phases), default=0) or None

    @property
    def peak_mib(self) -> int | None:
        """Of training and prediction: resident, as the kernel saw it, on a CPU; on a GPU reserved by the allocator,
        which only the candidate's process can tell."""
        if self.terms.device == "cuda":
            return round(self.train.peak_reserved_mib) if self.train.peak_reserved_mib else None
        untrusted = (Phase.PROBE, Phase.TRAIN, Phase.PREDICT, Phase.RUN)
        found = (phase for phase in self.result.phases if phase.name.split(".")[0] in untrusted)  # of rounds: run.1
        return max((int(phase.peak_rss_mib) for phase in found), default=None)

    @property
    def unaccounted_s(self) -> float | None:
        """Wall seconds of the training process, as the supervisor saw it, that its own account leaves out."""
        train = next((phase for phase in self.result.phases if phase.name == Phase.TRAIN), None)
        if train is None or self.train.wall_seconds is None:
            return None
        return train.seconds - self.train.wall_seconds - sum(self.train.overhead_s.values())

    @property
    def overhead_s(self) -> dict[str, float]:
        """Wall seconds outside training, by cause. The parts of `train` are the candidate's own account of it."""
        items = {phase.name: round(phase.seconds, 3) for phase in self.result.phases if phase.name != Phase.TRAIN}
        if (rest := self.unaccounted_s) is None:
            return items
        return {**self.train.overhead_s, "teardown": round(max(0.0, rest), 3), **items}

    @property
    def oom(self) -> OomReport | None:
        """What was known when memory ran out, in training or in a prediction; the file is in bytes."""
        found = (read_json(path) for path in self.folder.oom_reports)
        fields = next((fields for fields in found if fields), {})
        requested, reserved, allowed, free = (
            fields.get(name) for name in ("requested", "reserved", "allowed", "device_free")
        )
        if not isinstance(requested, int) or not isinstance(reserved, int):
            return None
        return OomReport(
            requested_mib=-(-requested // MIB),
            reserved_mib=-(-reserved // MIB),
            allowed_mib=allowed // MIB if isinstance(allowed, int) else None,
            device_free_mib=free // MIB if isinstance(free, int) else None,
            lack=next((lack for lack in LACKS if lack == fields.get("lack")), "cap"),
        )
