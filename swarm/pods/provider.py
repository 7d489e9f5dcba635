"""The seam between us and whoever rents out machines.

A provider answers, and repeats nothing that costs money: whether a lost reply meant a pod is found out by `list()` and
the pod's unique name, by the one who keeps the ledger. Prices are USD an hour, times seconds since the Unix epoch.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from swarm.errors import PodError
from swarm.records import Line, one_line

Cloud = Literal["secure", "community"]
NAME_PREFIX = "swarm-"
"""Every pod of ours is called so, and no other pod is touched."""


class NoCapacity(PodError):
    """This card is not to be had there now: the next card, or later."""


class PaymentRequired(PodError):
    """The account has no balance: nothing else will work either."""


class Refused(PodError):
    """The provider will not do this, however often it is asked. `status` is its HTTP status, None without one."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Unreachable(PodError):
    """Nobody answered, or only with errors of the server's own; what was asked for was not done."""


class ReplyLost(PodError):
    """It was asked for and no answer came: it may have been done. List the pods before asking again."""


class Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Offer(Value):
    """A card as the catalogue has it now."""

    card: Line
    cloud: Cloud
    price_usd_h: float = Field(ge=0)
    stock: Line = Field(description="as the provider says it, such as high, low or none")
    memory_gib: float | None = None

    @property
    def in_stock(self) -> bool:
        return self.stock.lower() not in ("none", "unavailable", "out_of_stock")


class SecretRef(Value):
    """A secret of the provider's own store, by its name: the value is put in there, and is never with us."""

    secret: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,100}$")]


class PodOrder(Value):
    """What is rented. `env` holds plain values and references, never a secret itself."""

    name: Annotated[str, Field(pattern=r"^swarm-[a-z0-9-]{1,180}$")]
    card: Line | None = Field(description="the provider's name of it; None where the machine is what it is")
    cloud: Cloud = "secure"
    image: str
    command: str = Field(description="one string: the words after the image's entry point, in shell quoting")
    env: dict[str, str | SecretRef] = {}
    disk_gib: int = Field(default=40, ge=1)
    volume: str | None = Field(default=None, description="a network volume's id; mounted at /workspace")
    hours: float = Field(gt=0)
    max_usd: float = Field(gt=0)
    max_price_usd_h: float | None = None


class PodState(StrEnum):
    STARTING = "starting"  # not paid at every provider; counted as paid here
    RUNNING = "running"
    STOPPED = "stopped"  # the card is given back, a disk may still cost
    FAILED = "failed"
    ENDED = "ended"  # nothing of it costs any more

    @property
    def costs(self) -> bool:
        """Whether the card's price may be paid: only a provider's word that it is stopped or gone says no."""
        return self not in (PodState.STOPPED, PodState.ENDED)


class SshAddress(Value):
    host: Line
    port: int = Field(default=22, ge=1, le=65535)
    user: Line = "root"


PodId = Annotated[str, Field(pattern=r"^[!-~]{1,200}$")]
"""As the provider calls it. It goes back to the provider as it came, so it is refused and not made safe."""
PodName = Annotated[str, BeforeValidator(lambda value: one_line(value, 200) if isinstance(value, str) else value)]
"""Whoever has the account may call a pod anything: made safe to print where it comes in."""


class Pod(Value):
    """A pod as its provider tells of it. What is not known is None."""

    id: PodId
    name: PodName
    state: PodState
    card: Line | None = None
    price_usd_h: float | None = None
    created_at: float | None = None
    ssh: SshAddress | None = None
    home: str | None = Field(default=None, description="its home, where that is not DEFAULT_HOME of `order.py`")
    folder: str | None = Field(default=None, description="its home, where that lies on this machine")


class Pods(Protocol):
    """A provider. Each may raise Refused or Unreachable; `create` also NoCapacity, PaymentRequired or ReplyLost."""

    name: str

    def offers(self, card: str) -> list[Offer]:
        """What the card costs and whether it is there, cheapest first; empty for one that nobody offers."""

    def create(self, order: PodOrder) -> Pod:
        """Rents it. Asked once: nothing is repeated in here after the request may have arrived."""

    def get(self, pod_id: str) -> Pod | None:
        """None for one that the provider no longer knows."""

    def list(self) -> list[Pod]:
        """All pods of ours, by the prefix of their names, ended ones only as far as the provider remembers them."""

    def start(self, pod_id: str) -> None:
        """A stopped one again, on the same disk and at its price; NoCapacity where its card went to somebody else."""

    def stop(self, pod_id: str) -> None:
        """Gives the card back and keeps the disk. Nothing happens to one that is stopped or gone."""

    def terminate(self, pod_id: str) -> None:
        """Ends it with all that is on it. Nothing happens to one that is gone. May be repeated."""

    def logs(self, pod_id: str) -> Iterator[str]:
        """Lines that its main process has written so far, oldest first; not followed."""
