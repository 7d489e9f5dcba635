"""The numbers of each figure as a table, for who cannot see it or wants to copy them. Pure."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from swarm.records import TrialFinished
from swarm.report.figures.curves import shown_curves
from swarm.report.figures.effects import constant_values, effects, tried_constants
from swarm.report.figures.lineage import depths_of
from swarm.report.figures.memory import memory_of
from swarm.report.figures.parallel import MOST_AXES, shown_programs
from swarm.report.figures.spending import bought, calls_of
from swarm.report.figures.style import peak_mib, wall_s
from swarm.report.figures.timeline import parallel_spans, worker_spans
from swarm.report.section import Section
from swarm.study.lineage import parent_of
from swarm.study.state import StudyState
from swarm.target.objective import UNKNOWN
from swarm.verdict import study_noise
from swarm.verdict.standing import standing, standing_of_trial

MOST_ROWS = 300
NONE_YET = "There is nothing to show yet."


def _section(title: str, columns: Sequence[str], rows: Sequence[tuple[str, ...]], note: str = "") -> Section:
    """The first rows, and how many there would be."""
    cut = f" The first {MOST_ROWS} of {len(rows):,}; swarm export has all." if len(rows) > MOST_ROWS else ""
    return Section(title, f"{note}{cut}".strip(), tuple(columns), tuple(rows[:MOST_ROWS]), NONE_YET)


def history_table(study: StudyState) -> Section:
    rows = [
        (str(place), t.trial_id, t.claim.agent_id, study.objective.text(t.cost), str(standing_of_trial(study, t)))
        for place, t in enumerate(study.finished_trials(), 1)
    ]
    return _section("Results", ("place", "trial", "worker", study.objective.name, "standing"), rows)


def timeline_table(study: StudyState) -> Section:
    trials = list(study.trials.values())
    end = max((t.finished.at for t in trials if t.finished is not None), default=study.opened.at)
    spent: dict[tuple[str, str], float] = {}
    for span in (*worker_spans(trials, end), *parallel_spans(trials, end)):
        key = (span.worker, span.doing)
        spent[key] = spent.get(key, 0.0) + span.end - span.start
    rows = [(worker, doing, f"{seconds / 60:.1f}") for (worker, doing), seconds in spent.items() if seconds > 0]
    return _section("Workers over time", ("worker", "doing", "minutes"), rows)


def lineage_table(study: StudyState) -> Section:
    depths = depths_of(study)
    rows = []
    for program in study.ranked():
        parent = parent_of(study, program)
        rows.append(
            (program.name, parent.name if parent is not None else "none", str(depths[program.name]),
             study.objective.text(program.mean), str(standing(study, program)), program.first.claim.description)
        )  # fmt: skip
    columns = ("program", "parent", "edits from the baseline", "mean", "standing", "change")
    return _section("Lineage", columns, rows)


def importance_table(study: StudyState) -> Section:
    noise, size = study_noise(study), study.objective.size
    rows = [
        (one.constant, str(len(one.edits)), size(one.typical), f"{size(one.low)} to {size(one.high)}",
         "95 %" if one.sure else "range", UNKNOWN if one.noise is None else size(one.noise),
         f"{one.best.before} to {one.best.after}: {study.objective.gain(one.best.difference)} ({one.best.program})")
        for one in effects(study, noise.sigma if noise is not None else None)
    ]  # fmt: skip
    columns = ("constant", "edits", "median change", "interval", "kind", "noise alone", "best edit")
    return _section("Importance of constants", columns, rows)


def parallel_table(study: StudyState) -> Section:
    names, values = tried_constants(study, study.ranked(), MOST_AXES), constant_values(study)
    rows = [
        (p.name, *(str(values[p.name].get(name, UNKNOWN)) for name in names), study.objective.text(p.mean))
        for p in shown_programs(study)
    ]
    return _section("Constants in parallel", ("program", *names, f"mean {study.objective.name}"), rows)


def constants_table(study: StudyState) -> Section:
    """For each value of each constant the programs that had it: how many, their best and their mean result."""
    values, rows = constant_values(study), []
    programs = study.ranked()
    for name in tried_constants(study, programs, MOST_AXES):
        groups: dict[str, list[float]] = {}
        for program in programs:
            if name in values[program.name] and program.mean is not None:
                groups.setdefault(str(values[program.name][name]), []).append(program.mean)
        text = study.objective.text
        rows += [(name, value, str(len(own)), text(min(own)), text(fmean(own))) for value, own in groups.items()]
    return _section("Constants", ("constant", "value", "programs", "best", "mean"), rows)


def curves_table(study: StudyState) -> Section:
    rows = []
    for trial in shown_curves(study):
        finished = trial.finished
        assert finished is not None
        rungs = ", ".join(f"{loss:.3f} at {progress:.0%}" for progress, loss in finished.rungs)
        rows.append((trial.trial_id, str(standing_of_trial(study, trial)), _first_and_last(finished), rungs or UNKNOWN))
    return _section("Training curves", ("trial", "standing", "training loss, first to last", "rungs"), rows)


def memory_table(study: StudyState) -> Section:
    rows = [
        (one.trial.trial_id, f"{one.reserved:,}", UNKNOWN if one.predicted is None else f"{one.predicted:,}",
         UNKNOWN if one.measured is None else f"{one.measured:,}", one.evidence.replace("_", " "))
        for one in memory_of(study)
    ]  # fmt: skip
    return _section("Memory (MiB)", ("trial", "reserved", "predicted", "measured", "rests on"), rows)


def pareto_table(study: StudyState) -> Section:
    rows = []
    for program in study.ranked():
        peak, seconds = peak_mib(program), wall_s(program)
        rows.append(
            (program.name, study.objective.text(program.mean), UNKNOWN if peak is None else f"{peak:,}",
             UNKNOWN if seconds is None else f"{seconds:.0f}")
        )  # fmt: skip
    return _section("Results against memory and time", ("program", "mean", "peak MiB", "seconds a trial"), rows)


def cost_table(study: StudyState) -> Section:
    rows = [(one.word, f"{one.trials} trials", f"{one.hours:.3f} hours") for one in bought(study)]
    for arm in sorted({name for _, name, _ in calls_of(study)}):
        own = [usage for _, name, usage in calls_of(study) if name == arm]
        usd = UNKNOWN if any(u.usd is None for u in own) else f"{sum(u.usd or 0.0 for u in own):.4f} USD"
        rows.append((f"models, {arm}", f"{sum(u.calls for u in own)} calls", usd))
    return _section("Cost", ("for", "how many", "spent"), rows)


FIGURE_TABLES: Mapping[str, Callable[[StudyState], Section]] = {
    "history": history_table,
    "timeline": timeline_table,
    "lineage": lineage_table,
    "importance": importance_table,
    "parallel": parallel_table,
    "constants": constants_table,
    "curves": curves_table,
    "memory": memory_table,
    "pareto": pareto_table,
    "cost": cost_table,
}
"""By the name of the figure."""


def _first_and_last(finished: TrialFinished) -> str:
    if not finished.curve:
        return UNKNOWN
    return f"{finished.curve[0][1]:.3f} to {finished.curve[-1][1]:.3f}"
