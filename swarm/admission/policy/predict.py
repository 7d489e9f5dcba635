"""How much memory will it take? Pure: measured peaks in, a reservation out.

In this order: the same code; its parents (upper quantile, scaled by the batch); a probe of three steps; the figure in
the target's profile; 0.45 of the card. Estimators that do not measure generalise poorly across architectures (arXiv
2602.17817), so there is none here. The rate of reservations that turned out too small is published, and it widens the
margin.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from swarm.admission.policy.oom import round_up

DEFAULT_FRACTION = 0.45
QUANTILE = 0.95
MARGIN_KNOWN = 0.10
MARGIN_FIRST = 0.15
MARGIN_UNKNOWN = 0.25
KNOWN_AFTER = 5
RATE_WINDOW = 50
TARGET_RATE = 0.05
CALIBRATE_AFTER = 20
NEARLY_ALL = 0.9
LONE_LEAST = 0.75

Source = Literal["given", "same_code", "parents", "structural", "probe", "profile", "default"]
"""Where an estimate comes from. Each has a record, and thereby a margin, of its own: changing a constant rarely moves
the peak, changing the structure does."""


@dataclass(frozen=True, slots=True)
class PeakRecord:
    """One finished run. `peak_mib` excludes the context. `too_small`: its own reservation did not hold it.
    `cap_lifted`: it took the allocator's cap off, so that no reservation binds it."""

    code_sha256: str
    peak_mib: int
    reservation_mib: int
    predicted_mib: int
    source: Source
    too_small: bool
    device: str = ""
    cap_lifted: bool = False

    @property
    def error(self) -> float:
        """Relative: 0.2 means that a fifth more was needed than predicted."""
        return self.peak_mib / self.predicted_mib - 1 if self.predicted_mib else 0.0


@dataclass(frozen=True, slots=True)
class PeakQuery:
    """`batch_ratio`: new batch size (times resolution) over the parents'; below 1 it does not lower the estimate.
    `structural`: the edit changes more than constants."""

    code_sha256: str = ""
    parents: tuple[str, ...] = ()
    batch_ratio: float = 1.0
    probe_mib: int | None = None
    profile_mib: int | None = None
    structural: bool = False


@dataclass(frozen=True, slots=True)
class Prediction:
    """`alone`: this code, or what it was made from, has lifted its cap before; nobody is put beside it."""

    peak_mib: int
    margin: float
    source: Source
    alone: bool = False

    def reservation_mib(self, context_mib: int) -> int:
        """R = context + peak * (1 + margin), rounded up to 64 MiB."""
        return round_up(context_mib + math.ceil(self.peak_mib * (1 + self.margin)))

    def demand(self, context_mib: int, room_mib: int) -> tuple[int, bool]:
        """(reservation, alone) for a card on which a lone job may have `room_mib`.

        A prediction near or above the whole card asks to be alone with whatever is there, and not for a number that
        the smallest foreign process would make impossible.
        """
        reservation = self.reservation_mib(context_mib)
        if reservation <= NEARLY_ALL * room_mib:
            return reservation, self.alone
        return round_up(min(self.peak_mib + context_mib, LONE_LEAST * room_mib)), True


@dataclass
class History:
    """Observed runs, in order, with an index by code. `device` keeps cards of different kinds apart."""

    records: list[PeakRecord] = field(default_factory=list)
    _by_code: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    _lifters: set[tuple[str, str]] = field(default_factory=set)

    @classmethod
    def of(cls, records: Iterable[PeakRecord]) -> "History":
        history = cls()
        for record in records:
            history.add(record)
        return history

    def add(self, record: PeakRecord) -> None:
        self.records.append(record)
        code = (record.device, record.code_sha256)
        self._by_code.setdefault(code, []).append(record.peak_mib)
        if record.cap_lifted:
            self._lifters.add(code)

    def peaks(self, device: str, code_sha256: str) -> Sequence[int]:
        return self._by_code.get((device, code_sha256), ())

    def has_lifted(self, device: str, code_sha256: str) -> bool:
        return (device, code_sha256) in self._lifters


def predict(query: PeakQuery, history: History, *, usable_mib: int, device: str = "") -> Prediction:
    """The peak that this program will reach on this device, and how far to trust it."""
    estimate = _estimate(query, history, usable_mib, device)
    # Its own runs say whether it still does; only before the first are its parents asked.
    asked = (query.code_sha256,) if estimate.source == "same_code" else query.parents
    return replace(estimate, alone=any(history.has_lifted(device, code) for code in asked))


def _estimate(query: PeakQuery, history: History, usable_mib: int, device: str) -> Prediction:
    same = history.peaks(device, query.code_sha256) if query.code_sha256 else ()
    if same:
        return _known(max(same), len(same), "same_code", history)
    inherited = [peak for parent in query.parents for peak in history.peaks(device, parent)]
    if inherited:
        peak = math.ceil(upper_quantile(inherited) * max(1.0, query.batch_ratio))
        return _known(peak, len(inherited), "structural" if query.structural else "parents", history)
    if query.probe_mib is not None:
        return Prediction(query.probe_mib, MARGIN_FIRST, "probe")
    if query.profile_mib is not None:
        return Prediction(query.profile_mib, MARGIN_FIRST, "profile")
    # The default is the whole reservation, not a peak to which a margin is added.
    return Prediction(int(usable_mib * DEFAULT_FRACTION), 0.0, "default")


def under_prediction_rate(records: Sequence[PeakRecord]) -> float | None:
    """Share of the last 50 predicted reservations that were too small. None before the first."""
    predicted = [record for record in records[-4 * RATE_WINDOW :] if record.source != "given"][-RATE_WINDOW:]
    if not predicted:
        return None
    return sum(record.too_small for record in predicted) / len(predicted)


def upper_quantile(values: Sequence[int], share: float = QUANTILE) -> int:
    """The smallest value that at least this share does not exceed; the maximum below twenty values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def _known(peak_mib: int, observations: int, source: Source, history: History) -> Prediction:
    calibrated = _calibrated(source, history)
    if calibrated is not None:
        margin = max(MARGIN_KNOWN, calibrated)
    else:
        margin = MARGIN_KNOWN if observations >= KNOWN_AFTER else MARGIN_UNKNOWN
    return Prediction(peak_mib, margin, source)


def _calibrated(source: Source, history: History) -> float | None:
    """The margin that would have sufficed for all but 5 % of the recent predictions of this kind; None with too few."""
    recent = history.records[-4 * RATE_WINDOW :]
    errors = sorted([record.error for record in recent if record.source == source][-RATE_WINDOW:])
    if len(errors) < CALIBRATE_AFTER:
        return None
    return min(1.0, errors[math.ceil((1 - TARGET_RATE) * len(errors)) - 1])
