"""Expected improvement over a Gaussian process, over the constants that the incumbent declares.

What is known goes in as it is: a program's mean with the noise of as many runs as it had, structural edits as such,
constants that a program lacks as lacking. Programs that run are taken to come out as expected, which keeps a second
worker away from them. A failed program is no bad loss; it lowers the expectation near it by the share of failures.
Results of earlier studies of the target count as those of another structure, moved by what the baselines differ in.

The maximum is looked for from the best programs outwards and from the best of many places by lot. What does not matter
for it stays as the incumbent has it, so that a verdict is about few constants. Rebuilt from the briefing at every call:
a proposal depends on it alone. When there are fewer than three results, the process has no root, or nothing that it
proposes is new, up to three constants are drawn by lot.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from statistics import median

import numpy as np
from numpy.typing import NDArray

from swarm.program.constants import Space
from swarm.program.families import family_of
from swarm.records import Operator, Proposal, Scalar
from workers.briefing import Briefing
from workers.proposers import ProposalFailed
from workers.proposers.evidence import tuned, turn_seed, was_tried
from workers.proposers.expected_improvement import climbed, log_improvement, scattered
from workers.proposers.gaussian_process import Array, Points, Posterior, conditioned, fitted
from workers.proposers.known_points import KnownPoints, nearness, standardised
from workers.proposers.spaces import as_text, at, differences, searched

FEWEST = 3  # results; with less the prior alone would speak, and always say the same
STARTS = 8  # from the best programs, and as many from places by lot
SCATTERED = 1000  # places by lot
AROUND = 3  # a third of what is scored: the programs that places by lot lie around
UNNOTICED = 0.05  # of the logarithm of the expected improvement: constants that cost no more to leave alone are left
FAILURE_REACH = 0.15  # of a constant's space: how far a failure speaks for its neighbours
TRIES = 24  # by lot, until one is new
MOVED_BY_LOT = 3
FIRST_MOVED, LEAST_MOVED, MOST_MOVED = 4, 2, 32  # constants at once: in the beginning, and within what limits


class ModelBasedProposer:
    """Proposes values for declared constants."""

    @property
    def name(self) -> str:
        return "model-based"

    def propose(self, briefing: Briefing) -> Proposal:
        """Raises ProposalFailed when the program declares no search space, or nothing that is drawn is untried.

        After a refusal in the same turn the next best change is proposed.
        """
        spaces = searched(briefing.incumbent.source)
        if not spaces:
            raise ProposalFailed("no_search_space", "the program declares no constant with a `# search:` comment")
        new = (found for found in _candidates(briefing, spaces) if found[0] and not was_tried(briefing, found[0]))
        for changes, how in islice(new, int(briefing.refusal is not None), None):
            listed = ", ".join(as_text(name, value) for name, value in changes.items())
            return tuned(self.name, briefing, spaces, changes, f"{how} {listed}")
        raise ProposalFailed("search_exhausted", "whatever was drawn around the incumbent had been tried before")


def _candidates(briefing: Briefing, spaces: Mapping[str, Space]) -> Iterator[tuple[dict[str, Scalar], str]]:
    """Changes of the incumbent, best first, in each the constant that matters most first; then others by lot."""
    rng = np.random.default_rng(random.Random(turn_seed(briefing)).getrandbits(64))
    try:
        found = _by_model(briefing, spaces, rng)
    except np.linalg.LinAlgError:
        found = []  # by lot keeps the device busy
    yield from ((changes, "set") for changes in found)
    yield from ((changes, "by lot, set") for changes in _by_lot(briefing, spaces, rng))


def _by_model(briefing: Briefing, spaces: Mapping[str, Space], rng: np.random.Generator) -> list[dict[str, Scalar]]:
    """Changes by falling expected improvement. Raises numpy.linalg.LinAlgError when the process has no root."""
    known, free = KnownPoints(spaces, briefing), _free(briefing, spaces)
    score = _score(known, briefing.sigma)
    starts = _starts(known, score, free, rng)
    found = np.unique(climbed(score, starts, known.axes, free, rng), axis=0)
    ranked = found[np.argsort(-score(found), kind="stable")]
    most = most_moved(briefing)
    return [known.changes(*_what_matters(score, position, known.own, most)) for position in ranked]


def _by_lot(briefing: Briefing, spaces: Mapping[str, Space], rng: np.random.Generator) -> Iterator[dict[str, Scalar]]:
    """Up to three constants anywhere in their spaces; in the end of all families."""
    free, names = _free(briefing, spaces), list(spaces)
    for attempt in range(TRIES):
        among = free if attempt < TRIES // 2 else np.arange(len(names))
        count = min(len(among), int(rng.integers(1, MOVED_BY_LOT + 1)))
        chosen = rng.choice(among, count, replace=False)
        values = {names[place]: at(spaces[names[place]], float(rng.random())) for place in chosen}
        yield differences(spaces, briefing.incumbent.constants, values)


def _free(briefing: Briefing, spaces: Mapping[str, Space]) -> NDArray[np.intp]:
    """Places of the constants whose family is not cooled down; all where that is none."""
    warm = [place for place, name in enumerate(spaces) if family_of(name) not in briefing.cooled_families]
    return np.array(warm or range(len(spaces)), dtype=np.intp)


@dataclass(frozen=True, slots=True)
class _Score:
    """The logarithm of the expected improvement of positions in the incumbent's structure; lower near failures."""

    known: KnownPoints
    process: Posterior
    best: float

    def __call__(self, positions: Array) -> Array:
        there = self.known.scored.at(positions, self.known.mark)
        mean, spread = self.process.predict(there)
        return log_improvement(mean, spread, self.best) + np.log(self._chance_to_run(there))

    def _chance_to_run(self, there: Points) -> Array:
        """One minus the share of failures among what was tried near; a place where nothing was tried counts as 1."""
        failed = nearness(there, self.known.failed, FAILURE_REACH).sum(axis=1)
        ran = nearness(there, self.known.scored, FAILURE_REACH).sum(axis=1)
        return np.asarray((1.0 + ran) / (1.0 + ran + failed))


def _score(known: KnownPoints, sigma: float | None) -> _Score:
    """The process after what is scored, with what runs taken to come out as expected."""
    if len(known.costs) < FEWEST:
        raise np.linalg.LinAlgError(f"{len(known.costs)} results say nothing about the constants")
    values, noise = standardised(known.costs, known.runs, sigma)
    process = fitted(known.scored, values, noise)
    best = float(process.predict(known.scored.at(known.projected(), known.mark))[0].min())
    if len(known.running):
        expected, _ = process.predict(known.running)
        best = min(best, float(expected.min()))  # what is being tried already is no improvement on itself
        points = known.scored.and_(known.running)
        noise = np.concatenate([noise, np.full(len(expected), noise.max())])
        process = conditioned(points, np.concatenate([values, expected]), noise, process.hyper)
    return _Score(known, process, best)


def _starts(known: KnownPoints, score: _Score, free: NDArray[np.intp], rng: np.random.Generator) -> Array:
    """The incumbent and what looks best with its structure, repeated up to STARTS; then as many of the places by lot.
    All have the incumbent's value of what is not free."""
    projected = known.projected()
    means, _ = score.process.predict(known.scored.at(projected, known.mark))
    best = np.vstack([known.own, projected[np.argsort(means, kind="stable")]])
    by_lot = scattered(best[: 1 + len(projected) // AROUND], known.axes, SCATTERED, rng)
    held = np.setdiff1d(np.arange(len(known.axes)), free)
    best[:, held] = by_lot[:, held] = known.own[held]
    first = np.sort(np.unique(best, axis=0, return_index=True)[1])[:STARTS]
    return np.vstack([best[np.resize(first, STARTS)], by_lot[np.argsort(-score(by_lot), kind="stable")[:STARTS]]])


def most_moved(briefing: Briefing) -> int:
    """How many constants a proposal may move: more while proposals of so many end in the better half of all results,
    fewer while they do not. A landscape that falls away around its program is learned in small steps."""
    finished = [a for a in briefing.attempts if not a.running]
    scored = [a.cost for a in finished if a.cost is not None]
    most, middle = FIRST_MOVED, median(scored) if scored else 0.0
    for attempt in finished:
        if attempt.operator == Operator.TUNE and len(attempt.changed) > most // 2:
            good = attempt.cost is not None and attempt.cost <= middle
            most = min(2 * most, MOST_MOVED) if good else max(most // 2, LEAST_MOVED)
    return most


def _what_matters(score: _Score, position: Array, own: Array, most: int) -> tuple[Array, list[int]]:
    """The position with as many constants back at the incumbent's as go unnoticed, and at most so many not; the places
    of these, in the order in which they matter."""
    position, least = position.copy(), float(score(position[None])[0]) - UNNOTICED
    while True:
        moved = np.flatnonzero(position != own)
        if len(moved) < 2:
            return position, [int(place) for place in moved]
        without = np.repeat(position[None], len(moved), axis=0)
        without[np.arange(len(moved)), moved] = own[moved]
        values = score(without)
        if values.max() < least and len(moved) <= most:
            return position, [int(place) for place in moved[np.argsort(values, kind="stable")]]
        position = without[values.argmax()]
