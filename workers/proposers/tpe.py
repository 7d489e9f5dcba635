"""Optuna's tree-structured Parzen estimator over the constants that the incumbent declares.

The sampler is rebuilt from the briefing at every call, so a proposal depends on the briefing alone: no storage of its
own, nothing lost with a process. Failed programs go in as failures, never as a bad loss; those that run go in as
running, and the constant liar keeps a second worker away from them.

By default a proposal moves at most `MOVED` constants and leaves the others at the incumbent's values: the estimator is
asked for those alone (its marginal over them). Sampling all of a dozen constants at once throws a competent program
away in each of the first trials, and the verdict on a change of twelve constants teaches nobody anything. On the replay
table, whose programs have six constants, `moved=None` is as good within chance (benchmarks/search.py --more); a table
of larger programs may decide otherwise.
"""

import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from swarm.program.constants import Choice, Int, Log, Space, same_value
from swarm.program.families import family_of
from swarm.records import Proposal, Scalar
from workers.briefing import Briefing
from workers.proposers import ProposalFailed
from workers.proposers.evidence import (
    Observation,
    observations,
    tuned,
    turn_seed,
    was_tried,
)
from workers.proposers.spaces import as_text, differences, rounded, searched

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

MOVED = 3
STARTUP_TRIALS = 6
TRIES = 24  # samples until one is new


class TpeProposer:
    """Proposes values for declared constants."""

    def __init__(self, *, moved: int | None = MOVED) -> None:
        self._moved = moved

    @property
    def name(self) -> str:
        return "tpe"

    def propose(self, briefing: Briefing) -> Proposal:
        """Raises ProposalFailed when the program declares no search space or each sampled change was tried."""
        spaces = searched(briefing.incumbent.source)
        if not spaces:
            raise ProposalFailed("no_search_space", "the program declares no constant with a `# search:` comment")
        rng = random.Random(turn_seed(briefing))
        estimator = _Estimator(spaces, observations(briefing))
        for attempt in range(TRIES):
            converged = attempt >= TRIES // 2  # everything that it would draw was tried: draw by lot, from all families
            free = _choose_free(rng, spaces, self._moved, () if converged else briefing.cooled_families)
            if attempt == TRIES // 2:
                estimator = _Estimator(spaces, [])
            values = estimator.sample(briefing.incumbent.constants, free, rng.getrandbits(32))
            changes = differences(spaces, briefing.incumbent.constants, values)
            if changes and not was_tried(briefing, changes):
                listed = ", ".join(as_text(name, value) for name, value in changes.items())
                return tuned(self.name, briefing, spaces, changes, f"set {listed}")
        raise ProposalFailed("search_exhausted", f"{TRIES} sampled changes in a row had been tried before")


def _choose_free(
    rng: random.Random, spaces: Mapping[str, Space], moved: int | None, cooled: Sequence[str]
) -> tuple[str, ...]:
    """The constants to move: some of those whose family is not cooled down, in the order of the program."""
    if moved is None:
        return tuple(spaces)
    warm = [name for name in spaces if family_of(name) not in cooled] or list(spaces)
    count = min(len(warm), rng.randint(1, moved))
    chosen = set(rng.sample(warm, count))
    return tuple(name for name in spaces if name in chosen)


class _Estimator:
    """Optuna with everything that is known. Samples do not depend on one another."""

    def __init__(self, spaces: Mapping[str, Space], known: Sequence[Observation]) -> None:
        import optuna

        self._spaces = spaces
        self._distributions = {name: _distribution(space) for name, space in spaces.items()}
        with _quiet():
            self._study = optuna.create_study()
            self._study.add_trials([_trial(spaces, self._distributions, item) for item in known])

    def sample(self, fixed: Mapping[str, Scalar], free: Sequence[str], seed: int) -> dict[str, Scalar]:
        """One draw for the free constants, the others held at their values."""
        import optuna

        held = {name: _encode(space, fixed[name]) for name, space in self._spaces.items() if name not in free}
        with _quiet():
            sampler = optuna.samplers.TPESampler(
                n_startup_trials=STARTUP_TRIALS, multivariate=True, group=True, constant_liar=True, seed=seed
            )
            self._study.sampler = optuna.samplers.PartialFixedSampler(held, sampler)
            asked = self._study.ask({name: self._distributions[name] for name in free})
            self._study.tell(asked, state=optuna.trial.TrialState.FAIL)  # else the liar keeps the next sample away
        return {name: _decode(self._spaces[name], value) for name, value in asked.params.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _trial(
    spaces: Mapping[str, Space], distributions: Mapping[str, "BaseDistribution"], known: Observation
) -> "FrozenTrial":
    """A known program as a trial; constants that it lacks, or holds outside the space, are left out of it."""
    from optuna.trial import TrialState, create_trial

    params = {
        name: _encode(space, known.constants[name])
        for name, space in spaces.items()
        if name in known.constants and space.contains(known.constants[name])
    }
    state = TrialState.FAIL if known.failed else TrialState.RUNNING if known.cost is None else TrialState.COMPLETE
    used = {name: distributions[name] for name in params}
    return create_trial(state=state, value=known.cost, params=params, distributions=used)


def _distribution(space: Space) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match space:
        case Choice(values=listed):
            return CategoricalDistribution(range(len(listed)))
        case Int(low=low, high=high):
            return IntDistribution(low, high)
        case _:
            return FloatDistribution(space.low, space.high, log=isinstance(space, Log))


def _encode(space: Space, value: Scalar) -> int | float | str:
    """A choice travels as its place in the list, since Optuna cannot tell 1 from True."""
    if isinstance(space, Choice):
        return next((place for place, item in enumerate(space.values) if same_value(item, value)), 0)
    return value


def _decode(space: Space, drawn: int | float) -> Scalar:
    match space:
        case Choice(values=listed):
            return listed[int(drawn)]
        case Int():
            return int(drawn)
        case _:
            return rounded(space, float(drawn))
