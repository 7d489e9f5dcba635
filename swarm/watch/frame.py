"""One look at a study, as values: what a terminal, a page and `--json` show. Unknown is None and never zero.

Numbers of the objective are its values (2.1034 nats, or an accuracy of 0.71), not costs. Times are epoch seconds.
"""

from dataclasses import asdict, dataclass

from swarm.records import Grade

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Mean:
    """Of a program's runs, with the 95 % interval that run-to-run noise gives it; None before the noise is measured."""

    program: str
    value: float
    low: float | None
    high: float | None
    runs: int
    standing: str
    description: str


@dataclass(frozen=True, slots=True)
class Gain:
    """How much better the incumbent is than the baseline, as a positive amount of the objective; with 95 % interval."""

    amount: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Slot:
    """A worker and the trial in its hand. `progress` in [0, 1] and `loss` are the program's own account of itself, and
    unknown of a trial that runs on a node.

    `silent_s`: since its last step. `ends_in_s`: an estimate of the trial's end, scoring included.
    """

    agent_id: str
    doing: str
    trial_id: str | None
    progress: float | None
    step: int | None
    loss: float | None
    silent_s: float | None
    ends_in_s: float | None
    restarts: int
    description: str
    node: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request for device memory that is not granted yet. `elsewhere`: another study's on this machine."""

    trial_id: str
    agent_id: str
    memory_mib: int
    waited_s: float
    reason: str
    starts_within_s: float | None
    elsewhere: bool


@dataclass(frozen=True, slots=True)
class Card:
    """A device of this machine, in MiB. `fault`: why it does not answer."""

    name: str
    total_mib: int
    reserved_mib: int
    foreign_mib: int
    room_mib: int
    fault: str | None


@dataclass(frozen=True, slots=True)
class Node:
    """A machine that runs trials of this study elsewhere, as it said `heard_s` ago. Memory is that of all its cards, in
    MiB. `state`: working, idle, silent or refused, and then `refused` says why."""

    name: str
    state: str
    device_class: str
    cards: int
    free_mib: int
    total_mib: int
    cores: int
    runs: tuple[str, ...]
    heard_s: float
    refused: str


@dataclass(frozen=True, slots=True)
class End:
    """When the study ends if it goes on like this, and which of its limits ends it: hours, trials or spend."""

    at: float
    limit: str


@dataclass(frozen=True, slots=True)
class Finals:
    """The finals that run, or that follow if it goes on like this. `begins_at` None: they run. `runs`: still to be
    made. `ends_at` None: no trial has shown yet how long one takes."""

    begins_at: float | None
    runs: int
    ends_at: float | None


@dataclass(frozen=True, slots=True)
class Spend:
    """On language models, of the whole study. The limits are None where there are none, or where nobody knows them."""

    usd: float | None
    max_usd: float | None
    tokens: int | None
    max_tokens: int | None
    calls: int


@dataclass(frozen=True, slots=True)
class Happened:
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Counts:
    """Trials of the study, and its programs that are kept. `held`: slots that only the finals may take."""

    trials: int
    wanted: int | None
    complete: int
    failed: int
    pruned: int
    open: int
    refused: int
    kept: int
    held: int = 0


@dataclass(frozen=True, slots=True)
class Frame:
    """The whole view. `state` is running, ended, copy (a brain without its study) or stopped (without a last line)."""

    schema_version: int
    at: float
    seq: int
    study_id: str
    target: str
    device: str
    budget: str
    data: str
    state: str
    why: str
    began_at: float
    last_record_at: float
    objective: str
    unit: str
    digits: int
    maximized: bool
    grade: Grade
    counts: Counts
    incumbent: Mean | None
    gain: Gain | None
    best: tuple[Mean, ...]
    noise_sigma: float | None
    noise_degrees: int
    trials_an_hour: float | None
    end: End | None
    spend: Spend | None
    vetoed: tuple[str, ...]
    slots: tuple[Slot, ...]
    waiting: tuple[Waiting, ...]
    cards: tuple[Card, ...]
    trouble: str | None
    events: tuple[Happened, ...]
    finals: Finals | None = None
    nodes: tuple[Node, ...] = ()

    def as_fields(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)

    def amount(self, number: float) -> str:
        """A number of the objective in its digits: 2.1034."""
        return f"{number:.{self.digits}f}"
