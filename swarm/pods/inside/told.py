"""The order as the pod reads it: `swarm.pods.order.StudyOrder` without pydantic. A test holds the two together.

Times are seconds since the Unix epoch by the renter's clock. A key that is not known is skipped, so that an older
script obeys a newer order as far as it can.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar, get_type_hints

ORDER_VARIABLE = "SWARM_POD_ORDER"
HOME_VARIABLE = "SWARM_POD_HOME"
DEFAULT_HOME = "/workspace/swarm"
VERSION = 1
SECONDS_AN_HOUR = 3600.0

_Part = TypeVar("_Part")


class BadOrder(Exception):
    """The order cannot be read; the message names the key."""


@dataclass(frozen=True, slots=True)
class Source:
    kind: str
    commit: str
    url: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class SyncTarget:
    kind: str = "pull"
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """See `swarm.pods.order.StudyOrder` for what each means."""

    pod_name: str
    source: Source
    up: tuple[str, ...]
    issued_at: float
    deadline_at: float
    lifetime_s: float
    price_usd_h: float
    max_usd: float
    version: int = VERSION
    idle_s: float = 1800.0
    min_gain_per_usd: float | None = None
    bundle_wait_s: float = 900.0
    sync: SyncTarget = SyncTarget()
    sync_every_s: float = 30.0
    collect_wait_s: float = 600.0

    @property
    def paid_s(self) -> float:
        """How long it may live by its length and its money, whichever is shorter."""
        if self.price_usd_h <= 0:
            return self.lifetime_s
        return min(self.lifetime_s, self.max_usd / self.price_usd_h * SECONDS_AN_HOUR)

    def usd(self, spent_s: float) -> float:
        """What so many seconds cost."""
        return spent_s / SECONDS_AN_HOUR * self.price_usd_h


def read_order(text: str) -> Order:
    """Raises BadOrder."""
    try:
        given = json.loads(text)
        order = _made(Order, {**given, "source": _made(Source, given["source"])} | _sync(given))
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise BadOrder(f"{ORDER_VARIABLE} cannot be read: {type(problem).__name__}: {problem}") from None
    if order.version != VERSION:
        raise BadOrder(f"{ORDER_VARIABLE} has version {order.version}, and this script knows {VERSION}")
    if not order.lifetime_s > 0 or not order.max_usd > 0:
        raise BadOrder(f"{ORDER_VARIABLE}: lifetime_s {order.lifetime_s} and max_usd {order.max_usd} must be above 0")
    if any(not isinstance(word, str) for word in order.up):
        raise BadOrder(f"{ORDER_VARIABLE}: up holds something that is no word")
    return order


def _sync(given: Mapping[str, object]) -> dict[str, object]:
    return {"sync": _made(SyncTarget, given["sync"])} if "sync" in given else {}


def _made(kind: type[_Part], given: object) -> _Part:
    """A value from the keys that it knows, each of the kind that it must be. Raises TypeError and KeyError."""
    if not isinstance(given, dict):
        raise TypeError(f"{kind.__name__} is {type(given).__name__}, and must be an object")
    hints = get_type_hints(kind)
    values: dict[str, object] = {}
    for field in fields(kind):  # type: ignore[arg-type] # only dataclasses come here
        if field.name in given:
            values[field.name] = _checked(field.name, given[field.name], hints[field.name])
    return kind(**values)


def _checked(name: str, value: object, hint: object) -> object:
    if hint in (float, float | None) and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint == tuple[str, ...] and isinstance(value, list):
        return tuple(value)
    if hint in (str, int) and not isinstance(value, hint):
        raise TypeError(f"{name} is {value!r}")
    if hint is float:
        raise TypeError(f"{name} is {value!r}, and must be a number")
    return value


def home_of(environment: Mapping[str, str]) -> Path:
    return Path(environment.get(HOME_VARIABLE) or DEFAULT_HOME).absolute()


def without_pod_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """What the study's processes get: nothing with which the pod or its remote can be changed."""
    ours = (ORDER_VARIABLE, HOME_VARIABLE, "SWARM_POD_SEED", "SWARM_POD_GIT_TOKEN", "PUBLIC_KEY")
    return {name: text for name, text in environment.items() if name not in ours and not name.startswith("RUNPOD_")}


def order_here() -> Order:
    """Of this process. Raises BadOrder."""
    return read_order(os.environ.get(ORDER_VARIABLE, ""))
