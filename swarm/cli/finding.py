"""What `swarm doctor` finds."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warn", "risk", "fail"]
"""`warn`: something is still to be done, and the detail says what. `risk`: a study runs here, and its results deserve
less trust. `fail`: it cannot run on this machine."""


@dataclass(frozen=True)
class Finding:
    check: str
    verdict: Verdict
    detail: str
