"""What the driver and its nodes say to each other. Pure."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from swarm.execution.executor import Outcome, Progress, TrialOrder
from swarm.records import one_line
from swarm.trial.config import Device

BEAT_S = 2.0  # between two beats of a node in which nothing happens
IDLE_BEAT_S = 0.5  # of one that has nothing to run
LEASE_S = 30.0  # without a beat, after which what a node runs is given to another


class Message(BaseModel):
    """A frozen value that survives JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


Short = Annotated[str, Field(max_length=200), AfterValidator(one_line)]
"""What a node calls itself and its parts: it is printed."""


class Card(Message):
    """A device of a node as its own ledger sees it."""

    name: Short
    total_mib: int = Field(ge=0)
    free_mib: int = Field(ge=0)


class Terms(Message):
    """What a node must be to run a study's trials: results of anything else would not compare."""

    study_id: str
    version: str
    harness_sha256: str
    dataset: str
    data_sha256: str
    device: Device
    brings_data: bool = Field(default=False, description="each order has its target's own data and grader")


class NodeFacts(Message):
    """Who a node is. `device_class` tells apart what does not compare: the model of its cards, or of its processor.
    `place` tells apart two machines of one name."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    version: Short
    harness_sha256: Short
    data_sha256: Short
    device: Device
    device_class: Short
    cores: int = Field(ge=1)
    pid: int
    cards: tuple[Card, ...] = Field(default=(), max_length=64)
    place: Short = ""


class Held(Message):
    """One order in a node's hands. `issue` is the number under which it was given out: the fence.

    Of `outcome`, `broken` (the node could not set it up) and `returned` (given back unfinished) at most one is set.
    """

    trial_id: str
    issue: int
    progress: Progress | None = None
    outcome: Outcome | None = None
    losses: tuple[float, ...] | None = None
    broken: str | None = None
    returned: bool = False


class Beat(Message):
    """A node's word: it lives, this is what it holds, and whether it would take one more."""

    facts: NodeFacts
    wants: bool
    held: tuple[Held, ...] = ()


class Lease(Message):
    """An order given out. It is the node's for LEASE_S after each beat that names it."""

    issue: int
    order: TrialOrder


class Answer(Message):
    """`forget`: orders that the node need not hold any more, since their end is known or they were given to another;
    what of them still runs is to be killed. `ended`: the study is over, and so is the node's work."""

    refused: str = ""
    lease: Lease | None = None
    stops: dict[str, str] = Field(default_factory=dict)
    forget: tuple[str, ...] = ()
    drop_weights: tuple[str, ...] = ()
    ended: bool = False


class Look(Message):
    """How an order does, for the worker that gave it."""

    progress: Progress | None = None
    outcome: Outcome | None = None
    broken: str | None = None


class NodeSeen(Message):
    """One line of `swarm nodes`."""

    facts: NodeFacts
    state: Literal["working", "idle", "silent", "refused"]
    heard_s: float = Field(description="seconds since its last beat")
    runs: tuple[str, ...] = ()
    refused: str = ""
