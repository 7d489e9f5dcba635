"""The seam between a study and whatever runs its trials: one machine today, nodes elsewhere tomorrow.

    running = executor.submit(order)
    while isinstance(now := running.poll(), Progress):
        ...                                   # running.stop(reason) or running.detach() at any moment
    outcome = now

Reserving memory, probing for it, and trying again after a lack of it belong to the executor, since only it knows its
devices. It knows no brain, no verdict and no proposal. `tests/contracts/` holds what every executor must do.
"""

from pathlib import PurePosixPath
from typing import Annotated, Literal, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from swarm.records import Budget, FailReason, Grading, Resources, Score, TargetTerms
from swarm.trial.asked import Harness
from swarm.trial.config import Device, Split

Sandbox = Literal["auto", "strict", "none"]


class _Value(BaseModel):
    """A frozen value that survives JSON: bytes travel as base64."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


def _inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or any(part in ("..", ".git") for part in parts):
        raise ValueError(f"{path!r} is no path inside a program's folder")
    return path


ProgramPath = Annotated[str, AfterValidator(_inside)]
TrialId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class MemoryEvidence(_Value):
    """What an executor may go by when it reserves memory, until it has measured the program itself."""

    code_sha256: str = ""
    parents: tuple[str, ...] = Field(default=(), description="hashes of the code that this one was made from")
    batch_ratio: float = Field(default=1.0, description="how much larger the batch is than the parent's")
    structural: bool = Field(default=False, description="the edit changes more than constants")
    profile_mib: int = Field(gt=0, description="the target's own figure")
    host_ram_mib: int = Field(default=0, ge=0, description="RAM beside a GPU; 0 where the device's memory is the RAM")


class TrialOrder(_Value):
    """One trial, self-contained: whoever gets it can run it without the study's repository or brain."""

    study_id: TrialId
    trial_id: TrialId
    agent_id: str
    target: str
    files: dict[ProgramPath, bytes] = Field(description="the target's folder as committed")
    editable: str = Field(description="the program's file, or the globs of its files")
    terms: TargetTerms = TargetTerms()
    grading: Grading | None = Field(default=None, description="of a target that is not sealed")
    seed: int = Field(description="the harness's, never the candidate's")
    budget: Budget
    rungs: tuple[float, ...] = Field(default=(), description="shares of the budget at which it is evaluated")
    device: Device
    threads: int = Field(ge=1)
    alone: bool = Field(default=False, description="it shares its device with nobody")
    sandbox: Sandbox = "auto"
    harness: Harness = Field(default="images", description="what kind of data the program trains on")
    split: Split = Field(default="val", description="what it is scored on; the test images only for a certificate")
    harness_sha256: str = Field(description="refused where the harness is another: results would not compare")
    memory: MemoryEvidence


class Started(_Value):
    """The attempt that runs, and what it was granted."""

    attempt: int = Field(ge=1)
    lease_id: str
    device_uuid: str
    reservation_mib: int
    alone: bool
    node: str = Field(default="", description="who ran it; empty on the driver's own machine")
    device_class: str = Field(default="", max_length=120, description="model of the card, or of the processor")


class Progress(_Value):
    """How a trial is doing: in the queue (`why` says for what), being probed for its memory, or running."""

    state: Literal["waiting", "probing", "running"]
    why: str = ""
    started: Started | None = None
    rungs: tuple[tuple[float, float], ...] = Field(default=(), description="(share of the budget, loss), in order")


class Outcome(_Value):
    """How a trial ended: with a score, or with a reason and a sentence."""

    score: Score | None = None
    reason: FailReason | None = None
    detail: str = ""
    attempts: int = 1
    started: Started | None = Field(default=None, description="the last attempt; None when it never ran")
    resources: Resources | None = None
    sandbox: str | None = Field(default=None, description="level reached; None when it never ran")
    flags: tuple[str, ...] = ()
    curve: tuple[tuple[float, float], ...] = Field(default=(), description="(share of the budget, training loss)")
    rungs: tuple[tuple[float, float], ...] = ()


class RunningTrial(Protocol):
    """One submitted trial. For one thread."""

    def poll(self) -> Progress | Outcome:
        """One look, which may take as long as a start does and never waits for the trial. After the end: the outcome.

        Raises TrialError when the trial could not be set up, which is not a failed trial.
        """

    def stop(self, reason: str) -> None:
        """End it: the outcome comes within seconds, with `reason` in it. Nothing happens after the end."""

    def detach(self) -> None:
        """Walk away: what runs goes on and can be adopted, what only waits is given up. No `poll` after this."""


class Executor(Protocol):
    """Runs the trials of one study."""

    def submit(self, order: TrialOrder) -> RunningTrial:
        """Begins a trial. The first `poll` takes its place in the queue."""

    def adopt(self, trial_id: str) -> RunningTrial | None:
        """A trial that somebody has submitted and left, running or over; None when nothing of it can be saved."""

    def losses(self, trial_id: str) -> list[float] | None:
        """The objective's value for each item, in the order of the data, such as the cross-entropy of each validation
        image; None if the trial left none."""

    def drop_weights(self, trial_id: str) -> None:
        """Forget the trained weights of a trial that nobody will want."""
