"""The data of a trial, as its program gets it: resident on the trial's device, loaded at the first call."""

from swarm.harness.layout import TrainSet
from swarm.harness.text import TextSet


def train() -> TrainSet | TextSet:
    """The training images of this trial, or its training text. Raises DataMissing."""
    from swarm.harness import session

    return session.current().train_set()
