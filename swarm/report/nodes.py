"""Where the trials ran: of a study on several machines, what each of them did, and whether they are alike. Pure."""

from statistics import fmean, median

from swarm.report.section import Section
from swarm.report.words import hours
from swarm.study.devices import device_classes
from swarm.study.state import StudyState, Trial
from swarm.target.objective import UNKNOWN

COLUMNS = ("node", "device class", "trials", "failed", "time", "baseline, samples a second", "baseline", "runs")


def nodes(study: StudyState) -> Section:
    """A line for each node and class. Runs of the unchanged program are the only ones that compare between nodes."""
    places: dict[tuple[str, str], list[Trial]] = {}
    for trial in study.trials.values():
        if trial.started is not None:
            places.setdefault((trial.started.node, trial.started.device_class), []).append(trial)
    if not any(node for node, _ in places):
        return Section("Nodes", "", COLUMNS, (), "Every trial ran on the machine of the study.")
    rows = tuple(_row(study, node, model, trials) for (node, model), trials in sorted(places.items()))
    note = (
        f"{one_class(study)}. Every comparison, replicate and the noise floor is within it. Nodes are alike if the "
        "unchanged program has the same speed and the same results on each."
    )
    return Section("Nodes", note, COLUMNS, rows)


def one_class(study: StudyState) -> str:
    """On what the study's trials ran, and whether that is one class of devices, as it should be."""
    classes = device_classes(study)
    if not classes:
        return "Device class not recorded"
    if len(classes) == 1:
        return f"One device class in every trial that names it: {next(iter(classes))}"
    return f"MIXED: trials ran on {', '.join(f'{name} ({count})' for name, count in classes.most_common())}"


def _row(study: StudyState, node: str, model: str, trials: list[Trial]) -> tuple[str, ...]:
    spans = [span for trial in trials if (span := trial.seconds) is not None]
    base = [trial for trial in trials if study.baseline is not None and trial.claim.program == study.baseline.name]
    costs = [trial.cost for trial in base if trial.cost is not None]
    rates = [
        rate
        for trial in base
        if trial.finished is not None and trial.finished.resources is not None
        if (rate := trial.finished.resources.solo_rate) is not None
    ]
    return (
        node or "the machine of the study",
        model or UNKNOWN,
        str(len(trials)),
        str(sum(trial.reason is not None for trial in trials)),
        hours(sum(end - start for start, end in spans) / 3600),
        f"{median(rates):.3g}" if rates else UNKNOWN,
        study.objective.text(fmean(costs)) if costs else UNKNOWN,
        str(len(costs)),
    )
