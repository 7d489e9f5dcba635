"""What a briefing knows, as points of its incumbent's search space: scored, running and failed programs."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from swarm.program.constants import Choice, Int, Space
from swarm.records import Scalar
from workers.briefing import Briefing
from workers.proposers.evidence import Observation, earlier_observations, observations, structures
from workers.proposers.expected_improvement import Axis
from workers.proposers.gaussian_process import Array, Points
from workers.proposers.spaces import at, differences, unit

MOST_POINTS = 300  # a proposal in well under a second; of more, the best and the latest
FAR = 3.0  # from the median, in widths of the better half: how bad what is worse is says little about the good ones
MOST_STEPS = 1000  # a whole number with more values than these moves like any other number


class KnownPoints:
    """`scored` is in the order of the costs, the lowest first. Positions are of the constants in `spaces`."""

    def __init__(self, spaces: Mapping[str, Space], briefing: Briefing) -> None:
        self._spaces = spaces
        self._incumbent = briefing.incumbent.constants
        self.axes = [_axis(space) for space in spaces.values()]
        known = [*earlier_observations(briefing), *observations(briefing)]
        scored = _most_telling([item for item in known if item.cost is not None and math.isfinite(item.cost)])
        running = [item for item in known if item.cost is None and not item.failed]
        failed = [item for item in known if item.failed]
        own_marks = structures(briefing).get(briefing.incumbent.trial_id, frozenset())
        self._places = {mark: place for place, mark in enumerate(sorted(own_marks.union(*(i.marks for i in known))))}
        self.mark = self._marks(own_marks)
        self.own = self._filled(self._units(self._incumbent))
        self.scored, self.running, self.failed = map(self._points, (scored, running, failed))
        self.costs = np.array([item.cost for item in scored], dtype=np.float64)
        self.runs = np.array([max(1, item.runs) for item in scored], dtype=np.float64)

    def changes(self, position: Array, places: Sequence[int]) -> dict[str, Scalar]:
        """The new values of the constants at these places, in this order."""
        listed = list(self._spaces.items())
        values = {listed[place][0]: at(listed[place][1], float(position[place])) for place in places}
        return differences(self._spaces, self._incumbent, values)

    def projected(self) -> Array:
        """The scored programs as the incumbent with their constants: what they lack is the incumbent's."""
        return np.where(np.isnan(self.scored.units), self.own, self.scored.units)

    def _points(self, items: Sequence[Observation]) -> Points:
        units = np.array([self._units(item.constants) for item in items]).reshape(len(items), len(self.axes))
        marks = np.array([self._marks(item.marks) for item in items]).reshape(len(items), len(self._places))
        return Points(units, marks, np.array([not axis.ordered for axis in self.axes]))

    def _units(self, constants: Mapping[str, Scalar]) -> Array:
        places = [unit(space, constants[name]) if name in constants else None for name, space in self._spaces.items()]
        return np.array([math.nan if place is None else place for place in places])

    def _filled(self, units: Array) -> Array:
        """A value that the program's own comment does not allow is taken as the middle of its space."""
        middles = np.array([float(axis.settled(np.array(0.5))) for axis in self.axes])
        return np.where(np.isnan(units), middles, units)

    def _marks(self, marks: frozenset[str]) -> Array:
        row = np.zeros(len(self._places))
        row[[self._places[mark] for mark in marks]] = 1.0
        return row


def standardised(costs: Array, runs: Array, sigma: float | None) -> tuple[Array, Array]:
    """Costs for a Gaussian process, with mean 0 and spread 1, and the variance of each one's noise there.

    Those more than FAR above the median count as that far: beside a program that fell apart at a loss of a million all
    others would be the same. Without a noise floor a tenth of the spread of the better half is taken for it.
    """
    middle = float(np.median(costs))
    scale = max(middle - float(costs.min()), sigma or 0.0) or 1.0
    distance = (costs - middle) / scale
    near = np.minimum(distance, FAR)
    centre, spread = float(near.mean()), float(near.std()) or 1.0
    noise = (sigma / scale if sigma else 0.1) / spread
    return (near - centre) / spread, np.square(noise) / runs


def _most_telling(scored: list[Observation]) -> list[Observation]:
    """The lowest cost first; of very many programs the better half and the latest."""
    ranked = sorted(scored, key=lambda item: item.cost or 0.0)
    if len(ranked) <= MOST_POINTS:
        return ranked
    best = ranked[: MOST_POINTS // 2]
    chosen = {id(item) for item in best}
    latest = [item for item in reversed(scored) if id(item) not in chosen][: MOST_POINTS - len(best)]
    return best + sorted(latest, key=lambda item: item.cost or 0.0)


def _axis(space: Space) -> Axis:
    """Choices between numbers have an order, others and those between truths have none."""
    match space:
        case Choice(values=listed):
            numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in listed)
            return Axis(len(listed), ordered=numbers)
        case Int(low=low, high=high) if high - low < MOST_STEPS:
            return Axis(high - low + 1, ordered=True)
    return Axis(None, ordered=True)


def nearness(points: Points, others: Points, reach: float) -> NDArray[np.float64]:
    """[point, other]: 1 at the same place, falling with the mean squared gap over the constants that both have."""
    if not len(others):
        return np.zeros((len(points), 0))
    gaps = np.square(points.units[:, None, :] - others.units[None, :, :])
    gaps = np.where(points.categories & (gaps > 0), 1.0, np.nan_to_num(gaps))
    return np.asarray(np.exp(-gaps.mean(axis=2) / (2 * reach**2)))
