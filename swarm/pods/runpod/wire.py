"""What goes to the API v2 and what comes back, as values. Request fields are the API's own; unknown ones get a 422.

From the OpenAPI description of v2 (2.0.0, read on 2026-11-26). Of a reply only what we use is read.
"""

from datetime import datetime
from typing import Annotated, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from swarm.pods.provider import (
    NAME_PREFIX,
    Cloud,
    Offer,
    Pod,
    PodId,
    PodName,
    PodOrder,
    PodState,
    SecretRef,
    SshAddress,
)
from swarm.records import Line, one_line

VOLUME_PATH = "/workspace"
PERSISTENT_GIB = 20  # of a disk that outlives a stop, where no network volume is named
SSH_PORT = "22/tcp"
MAX_ENV = 50
Tier = Literal["SECURE", "COMMUNITY"]


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class GpuWanted(_Request):
    id: str
    count: int = 1


class Persistent(_Request):
    size: int = PERSISTENT_GIB
    path: str = VOLUME_PATH


class Network(_Request):
    volumeId: str  # noqa: N815 - the API's name
    path: str = VOLUME_PATH


class Mounts(_Request):
    persistent: Persistent | None = None
    network: tuple[Network, ...] | None = None


class CreatePod(_Request):
    """Body of POST /v2/pods. There is no key that makes a second one harmless."""

    name: str
    image: str
    gpu: GpuWanted
    cloud: Tier
    disk: int
    args: str
    env: dict[str, str]
    ports: tuple[str, ...] = (SSH_PORT,)
    mounts: Mounts
    startSsh: bool = True  # noqa: N815

    @classmethod
    def of(cls, order: PodOrder) -> "CreatePod":
        if order.card is None:
            raise ValueError("a pod of this provider has a card")
        mounts = Mounts(network=(Network(volumeId=order.volume),)) if order.volume else Mounts(persistent=Persistent())
        return cls(
            name=order.name,
            image=order.image,
            gpu=GpuWanted(id=order.card),
            cloud="SECURE" if order.cloud == "secure" else "COMMUNITY",
            disk=order.disk_gib,
            args=order.command,
            env={name: _value(value) for name, value in order.env.items()},
            mounts=mounts,
        )


def _value(value: str | SecretRef) -> str:
    """The provider puts the secret in where the pod starts; neither the request nor any record of ours has it."""
    return f"{{{{ RUNPOD_SECRET_{value.secret} }}}}" if isinstance(value, SecretRef) else value


class Action(_Request):
    action: Literal["start", "stop"]


def _or_none(value: object, understood: ValidatorFunctionWrapHandler) -> object:
    try:
        return understood(value)
    except ValidationError:
        return None


_T = TypeVar("_T")
_Lenient = Annotated[_T, WrapValidator(_or_none)]


class _Gpu(_Reply):
    id: str


class _Endpoint(_Reply):
    host: str = Field(min_length=1)
    port: int = Field(ge=1, le=65535)
    username: str = "root"


class _Ssh(_Reply):
    direct: _Lenient[_Endpoint | None] = None

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, given: object) -> object:
        """The schema has `direct`, and the examples of the same description have its fields here."""
        flat = isinstance(given, dict) and "direct" not in given and "host" in given
        return {"direct": given} if flat else given


class PodReply(_Reply):
    """What we cannot do without has to be right; of the rest, what is not understood is not known."""

    id: PodId
    name: PodName
    status: str
    gpu: _Lenient[_Gpu | None] = None
    ssh: _Lenient[_Ssh | None] = None
    cost: _Lenient[Annotated[float, Field(allow_inf_nan=False)] | None] = None
    createdAt: _Lenient[datetime | None] = None  # noqa: N815

    def pod(self) -> Pod:
        state = STATES.get(self.status, PodState.FAILED)
        direct = self.ssh.direct if self.ssh is not None else None
        return Pod(
            id=self.id,
            name=self.name,
            state=state,
            card=self.gpu.id if self.gpu is not None else None,
            price_usd_h=self.cost if state.costs else None,  # 0 of one that has stopped is no price
            created_at=self.createdAt.timestamp() if self.createdAt is not None else None,
            ssh=SshAddress(host=direct.host, port=direct.port, user=direct.username) if direct is not None else None,
        )


STATES = {
    "PROVISIONING": PodState.STARTING,
    "STARTING": PodState.STARTING,
    "RUNNING": PodState.RUNNING,
    "EXITED": PodState.STOPPED,
    "ERROR": PodState.FAILED,
    "TERMINATED": PodState.ENDED,
}


class PodList(_Reply):
    """The whole list: v2 has no pages. A pod of somebody else is not read, whatever it looks like; one of ours that is
    not understood makes the whole answer wrong, since a list without it would say that it is gone."""

    pods: tuple[JsonValue, ...]

    def ours(self) -> list[Pod]:
        """Raises ValidationError."""
        return [PodReply.model_validate(one).pod() for one in self.pods if _is_ours(one)]


def _is_ours(listed: JsonValue) -> bool:
    name = listed.get("name") if isinstance(listed, dict) else None
    return isinstance(name, str) and name.startswith(NAME_PREFIX)


class _Price(_Reply):
    secure: float = 0
    community: float = 0


class GpuType(_Reply):
    id: str
    name: str = ""
    memory: float | None = None
    price: _Price
    secure: bool = True
    community: bool = True
    availability: str = "NONE"

    def offer(self, cloud: Cloud) -> Offer | None:
        """None where this cloud does not have it; a price of 0 is no price."""
        price, there = (self.price.secure, self.secure) if cloud == "secure" else (self.price.community, self.community)
        if not there or price <= 0:
            return None
        stock: Line = self.availability.lower()
        return Offer(card=self.id, cloud=cloud, price_usd_h=price, stock=stock, memory_gib=self.memory)


class GpuTypes(_Reply):
    gpus: tuple[GpuType, ...]


class Problem(_Reply):
    """RFC 9457, as far as a server keeps to it."""

    title: str = ""
    detail: str = ""
    errors: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return one_line("; ".join(filter(None, (self.detail or self.title, *self.errors[:3]))), 300)


class LogEvent(_Reply):
    line: str = ""
