"""The envelope that every record has."""

from pydantic import Field

from swarm.records.text import Line
from swarm.records.values import FORMAT_VERSION, MAX_DESCRIPTION, Value

LAST_AT = 32_503_680_000.0  # the year 3000: every reader shows the moment as a date, and far later ones have none


class Record(Value):
    """The envelope. `seq` counts lines from 1, `prev` is the SHA-256 of the line before."""

    kind: Line
    agent_id: Line = "orchestrator"
    study_id: Line = ""
    description: Line = Field(default="", max_length=MAX_DESCRIPTION)
    validation_loss: float | None = None
    v: int = FORMAT_VERSION
    seq: int = 0
    id: Line = ""
    at: float = Field(
        default=0.0,
        ge=0.0,
        le=LAST_AT,
        description="seconds since the epoch, by the writer's clock; order is by seq",
    )
    prev: Line = ""
