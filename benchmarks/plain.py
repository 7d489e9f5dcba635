"""The plain policies that the swarm is compared with: random search, and Optuna's TPE as it comes.

Each spends trials up to the last of `checkpoints` from a start that it knows the loss of, and returns the program that
it would hand over at each of them. More checkpoints change nothing about the first ones.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from swarm.program.constants import Choice, Int, Log, Space, assign
from swarm.records import FailReason, Scalar
from workers.claims import trial_seed
from workers.proposers.spaces import at, searched, values_of

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

CHECKPOINTS = (20, 60)

Run = Callable[[str, int], float | FailReason]
"""Trains a program with a seed: its loss, or why it has none."""

Policy = Callable[[str, int, Run, Sequence[int]], list[str]]
"""What a policy hands over: from its start, the seed of its own choices, trainings, and the checkpoints."""


def random_search(start: str, seed: int, run: Run, checkpoints: Sequence[int]) -> list[str]:
    """Settings by lot without repetition; hands over the best single run."""
    rng, spaces = random.Random(seed), searched(start)
    programs = [start]
    while len(programs) <= checkpoints[-1]:
        program = assign(start, random_setting(spaces, rng))
        if program not in programs:
            programs.append(program)
    losses = [loss_of(run(program, seed_of(seed, place))) for place, program in enumerate(programs)]
    best = [min(range(1 + trials), key=losses.__getitem__) for trials in checkpoints]
    return [programs[place] for place in best]


def random_setting(spaces: Mapping[str, Space], rng: random.Random) -> dict[str, Scalar]:
    """Every constant anywhere in its space."""
    return {name: _by_lot(space, rng) for name, space in spaces.items()}


def _by_lot(space: Space, rng: random.Random) -> Scalar:
    match space:
        case Choice(values=listed):
            return rng.choice(listed)
        case Int(low=low, high=high):
            return rng.randint(low, high)
        case _:
            return at(space, rng.random())


def plain_tpe(
    start: str, seed: int, run: Run, checkpoints: Sequence[int], sampler: "BaseSampler | None" = None
) -> list[str]:
    """`optuna.samplers.TPESampler` with its defaults (or `sampler`), told of the start and asked for two trials at a
    time; hands over the best mean. A failed training is told as a failure."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    distributions = {name: distribution(space) for name, space in searched(start).items()}
    study = optuna.create_study(sampler=sampler or optuna.samplers.TPESampler(seed=seed))
    first = loss_of(run(start, seed_of(seed, 0)))
    known = {name: value for name, value in values_of(start).items() if name in distributions}
    study.add_trial(optuna.trial.create_trial(value=first, params=known, distributions=distributions))
    losses, waiting, handed_over = {start: [first]}, [], []
    for trials in range(1, checkpoints[-1] + 1):
        while len(waiting) < 2:
            waiting.append(study.ask(distributions))
        trial = waiting.pop(0)
        program = assign(start, trial.params)
        result = run(program, seed_of(seed, trials))
        if isinstance(result, FailReason):
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, result)
            losses.setdefault(program, []).append(result)
        if trials in checkpoints:
            handed_over.append(min(losses, key=lambda program: fmean(losses[program])))
    return handed_over


def distribution(space: Space):
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match space:
        case Choice(values=listed):
            return CategoricalDistribution(listed)
        case Int(low=low, high=high):
            return IntDistribution(low, high)
        case _:
            return FloatDistribution(space.low, space.high, log=isinstance(space, Log))


def loss_of(result: float | FailReason) -> float:
    """A failure is worse than every loss."""
    return float("inf") if isinstance(result, FailReason) else result


def seed_of(seed: int, trial: int) -> int:
    """Of the policy's trial with this number; 0 is the start."""
    return trial_seed(seed, f"t{trial:04}")
