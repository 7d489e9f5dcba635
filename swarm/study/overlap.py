"""Which trials ran side by side. Pure."""

from collections.abc import Iterable, Iterator

from swarm.study.state import Trial


def overlapping_pairs(trials: Iterable[Trial]) -> Iterator[tuple[Trial, Trial]]:
    """Pairs of trials whose runs shared some time: the proof that workers worked side by side."""
    spans = sorted(((trial.seconds, trial) for trial in trials if trial.seconds is not None), key=lambda pair: pair[0])
    for index, ((_, end), first) in enumerate(spans):
        for (start, _), second in spans[index + 1 :]:
            if start >= end:
                break
            yield first, second
