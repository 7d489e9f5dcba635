"""Which devices a study's trials ran on. Pure.

Results of two device classes do not compare: neither their means nor their noise. A study therefore has one class,
which is that of its first trial: a node of another class is refused, and so is going on with it elsewhere.
"""

from collections import Counter

from swarm.study.state import StudyState

ELSEWHERE = "nodes"
"""The device of a study whose trials run on nodes, before the first of them has said what it is."""


def device_classes(study: StudyState) -> Counter[str]:
    """Trials by the class of the device that they ran on, without those of older records, which name none."""
    started = (trial.started for trial in study.trials.values())
    return Counter(start.device_class for start in started if start is not None and start.device_class)


def device_class(study: StudyState) -> str | None:
    """That of the study: of its first trial that names one."""
    return next(iter(device_classes(study)), None)


def device_of(study: StudyState) -> str:
    """What it runs on, in a few words: of a study on nodes the class of their devices."""
    name = study.opened.device_name
    return f"{ELSEWHERE} of {found}" if name == ELSEWHERE and (found := device_class(study)) else name
