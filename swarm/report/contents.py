"""The parts of a report by name: the one list that report.html and the page of `swarm watch --web` are made from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from swarm.report.answers import answers
from swarm.report.attribution import attribution
from swarm.report.costs import device_time, models
from swarm.report.evidence import NOTHING, Evidence
from swarm.report.findings import (
    ended_early,
    failures,
    infeasible,
    led_and_fell,
    negative_findings,
    plateau,
    refusals,
)
from swarm.report.guards import guards
from swarm.report.integrity import integrity
from swarm.report.memory_lot import memory_by_lot
from swarm.report.nodes import nodes
from swarm.report.section import Section
from swarm.report.sections import memory_use, notes, overview, ran_on, ranking
from swarm.study.state import StudyState


@dataclass(frozen=True, slots=True)
class Part:
    """A table of the report."""

    title: str
    build: Callable[[StudyState, Evidence], Section]


def _of_study(build: Callable[[StudyState], Section]) -> Callable[[StudyState, Evidence], Section]:
    return lambda study, evidence: build(study)


PARTS: Mapping[str, Part] = {
    "answers": Part("At a glance", answers),
    "ranking": Part("Programs, best first", _of_study(ranking)),
    "led_and_fell": Part("What led and fell", _of_study(led_and_fell)),
    "guards": Part("Guards and other numbers", _of_study(guards)),
    "negative_findings": Part("What did not help", _of_study(negative_findings)),
    "attribution": Part("What each edit is worth", _of_study(attribution)),
    "plateau": Part("Where it stalled, and why", _of_study(plateau)),
    "failures": Part("Failed trials", _of_study(failures)),
    "infeasible": Part("Infeasible: too large for the device", _of_study(infeasible)),
    "ended_early": Part("Ended early", _of_study(ended_early)),
    "refusals": Part("Refused before they cost training", _of_study(refusals)),
    "memory_use": Part("Use of the shared memory", _of_study(memory_use)),
    "memory_by_lot": Part("Was the shared memory used?", _of_study(memory_by_lot)),
    "device_time": Part("What it cost", _of_study(device_time)),
    "models": Part("Language models", _of_study(models)),
    "integrity": Part("How far to trust it", integrity),
    "overview": Part("Overview", _of_study(overview)),
    "nodes": Part("Nodes", _of_study(nodes)),
    "ran_on": Part("What it was run on", _of_study(ran_on)),
    "notes": Part("Notes", _of_study(notes)),
}
"""In the order in which a reader wants them."""

FIGURE_TITLES: Mapping[str, str] = {
    "history": "Results",
    "timeline": "Workers over time",
    "lineage": "Lineage",
    "importance": "Importance of constants",
    "parallel": "Constants in parallel",
    "constants": "Results along each constant",
    "curves": "Training curves",
    "memory": "Memory reserved, predicted and measured",
    "pareto": "Results against memory and time",
    "cost": "Cost over time",
}


def sections(study: StudyState, evidence: Evidence = NOTHING) -> list[Section]:
    """All tables of a report."""
    return [part.build(study, evidence) for part in PARTS.values()]
