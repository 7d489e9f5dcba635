"""What swarms tell each other: a finding, and how it did elsewhere. Pure."""

import hashlib
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from swarm.execution.executor import ProgramPath
from swarm.records import Line

MAX_FILE_BYTES = 64 * 1024
MAX_EDITS = 60
MAX_EDIT_CHARS = 24 * 1024
MAX_NOTE = 300

SwarmName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Number = Annotated[float, Field(allow_inf_nan=False)]
Short = Annotated[Line, Field(max_length=120)]


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Edit(_Told):
    """The one place of a file where `search` stands, and what stands there instead."""

    path: ProgramPath = Field(max_length=200)
    search: str = Field(min_length=1, max_length=MAX_EDIT_CHARS)
    replace: str = Field(max_length=MAX_EDIT_CHARS)


class Measured(_Told):
    """Its author's numbers. They are shown to people and enter no study."""

    metric: Short
    direction: Literal["minimize", "maximize"]
    runs: int = Field(ge=1, le=10_000)
    mean: Number
    base_mean: Number
    sigma: Number | None = None


class Finding(_Told):
    """A program, as its change of the target's unchanged one."""

    kind: Literal["swarm-finding-1"] = "swarm-finding-1"
    swarm: SwarmName
    at: Number
    target: Short
    harness_sha256: Sha256
    data_sha256: Sha256
    base_tree_sha256: Sha256 = Field(description="of the unchanged program's syntax tree")
    edits: tuple[Edit, ...] = Field(min_length=1, max_length=MAX_EDITS)
    measured: Measured
    standing: Short
    device_class: Short
    budget: Short
    note: Annotated[Line, Field(max_length=MAX_NOTE)] = ""


class Replication(_Told):
    """What came of somebody's finding here, on own seeds beside an own baseline."""

    kind: Literal["swarm-replication-1"] = "swarm-replication-1"
    swarm: SwarmName
    at: Number
    finding: Sha256
    harness_sha256: Sha256
    data_sha256: Sha256
    measured: Measured
    standing: Short
    device_class: Short


_ANY: TypeAdapter[Finding | Replication] = TypeAdapter(Annotated[Finding | Replication, Field(discriminator="kind")])


def identity(body: bytes) -> str:
    """The name of a file: the hash of what it says."""
    return hashlib.sha256(body).hexdigest()


def read(body: bytes) -> Finding | Replication:
    """Raises ValueError for what is no such text, or too much of it."""
    if len(body) > MAX_FILE_BYTES:
        raise ValueError(f"it has {len(body)} bytes, limit {MAX_FILE_BYTES}")
    return _ANY.validate_json(body)
