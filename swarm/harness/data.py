"""The data of a trial, as its program gets it: resident on the trial's device, loaded at the first call."""

from swarm.harness.layout import TrainSet


def train() -> TrainSet:
    """The training images of this trial. Raises DataMissing."""
    from swarm.harness import session

    return session.current().train_set()
