"""The tables of the report, as plain text cells, in the order in which a reader wants them."""

from collections import Counter
from collections.abc import Iterable
from statistics import fmean, stdev

from swarm.report.memory import lift_text, memory_rows, percent, prediction_error
from swarm.report.section import Section
from swarm.report.summary import mean_top1, summarize
from swarm.study.devices import device_of
from swarm.study.state import Program, StudyState
from swarm.target.objective import UNKNOWN
from swarm.verdict.early_stop import false_prunes
from swarm.verdict.finals import deciding_costs
from swarm.verdict.standing import in_order, is_simplification, kept, standing


def overview(study: StudyState) -> Section:
    told, prunes, objective = summarize(study), false_prunes(study), study.objective
    verdicts = [program.verdict for program in kept(study) if program.verdict is not None]
    simpler = sum(map(is_simplification, verdicts))
    sigma = "not measured yet"
    if told.noise_sigma is not None:
        sigma = f"{objective.with_unit(objective.size(told.noise_sigma))}, {told.noise_degrees} degrees of freedom"
    rate = f"{prunes.text}; {prunes.pruned} trials were ended"
    pruned, refused = told.failed.get("pruned", 0), sum(told.refused.values())
    failed = sum(told.failed.values()) - pruned
    ended = f"{told.complete} complete, {failed} failed, {pruned} ended early, {len(study.open_trials())} open"
    replicates = told.trials - len(study.programs)
    rows = (
        ("Objective", f"{objective.label}, {objective.better} is better"),
        ("Trials", f"{told.trials}: {ended}"),
        ("Programs", f"{len(study.programs)}, with {replicates} replicates beyond the first runs"),
        ("Kept", f"{told.kept - simpler} confirmed better, {simpler} simpler and not worse"),
        ("Baseline", _mean_of(study, study.baseline)),
        ("Incumbent", _mean_of(study, study.incumbent)),
        ("Noise floor", sigma),
        ("Refused proposals", str(refused)),
        ("Pairs of trials that overlapped in time", str(told.overlapping_pairs)),
        ("Early stopping, wrongly ended", rate),
        ("Finals", _finals(study)),
        ("Ended", told.closed or "still open"),
    )
    return Section("Overview", "", ("", ""), rows)


def _finals(study: StudyState) -> str:
    """What the last finals said, or that there were none."""
    if not study.finals:
        return "none yet: nothing can be kept before `swarm finals` or the end of a longer study"
    end = study.finals_ends.get(study.finals[-1].number)
    if end is None:
        return "not ended: `swarm finals` goes on with them"
    drifted = " The baseline has moved since the noise floor: the machine has changed." if end.drifted else ""
    return f"{end.winner or 'no winner'}{' kept' if end.kept else ''}: {end.why}{drifted}"


def ranking(study: StudyState) -> Section:
    rows = tuple(_ranked(study, program, rank) for rank, program in enumerate(in_order(study), 1))
    objective = study.objective
    note = (
        f"What is kept, then what leads, then the rest by mean {objective.label}, {objective.better} is better. The "
        "order alone proves nothing. Delta and P are against the parent; only what is kept is shown to be better."
    )
    columns = ("rank", "program", "mean", "sd", "n", "delta", "P(better)", "standing", "top-1", "worker", "change")
    return Section("Programs, best first", note, columns, rows, "No program has a result yet.")


def memory_use(study: StudyState) -> Section:
    rows = tuple(
        (
            row.agent_id,
            row.proposer,
            str(row.proposals),
            f"{row.refused} ({row.duplicates_refused} duplicates)",
            f"{percent(row.cited_when_related)} of {row.with_related}",
            f"{percent(row.citations_valid)} of {row.citations}",
            lift_text(row.lift),
            f"{prediction_error(row, study.objective)} over {row.predictions}",
            percent(row.direction_right),
            f"{percent(row.climb_share)} of {row.gains}",
            f"{row.most_tokens:,}" if row.most_tokens is not None else "n/a",
        )
        for row in memory_rows(study)
    )
    note = (
        f"Memory: {study.opened.memory}. A climb is a gain that cites an earlier record. The citation lift is the "
        "share of gains among proposals that cite a program which had helped, minus that among the others made since "
        "there was one, with a 95 % interval. Citing is no proof of use: a run with shuffled memory is the control."
    )
    columns = (
        "worker",
        "proposer",
        "proposals",
        "refused",
        "cited when related",
        "citations valid",
        "citation lift",
        "prediction error",
        "direction right",
        "climbs among gains",
        "longest briefing, tokens",
    )
    return Section("Use of the shared memory", note, columns, rows, "No proposal yet.")


def ran_on(study: StudyState) -> Section:
    opened = study.opened
    finished = [trial.finished for trial in study.finished_trials() if trial.finished is not None]
    used = [item.resources for item in finished if item.resources is not None]
    rows = (
        ("Data", opened.data),
        ("Target", f"{opened.target} ({opened.target_folder}/{opened.editable})"),
        ("Base commit", opened.base_commit),
        ("Device", f"{device_of(study)} ({opened.device})"),
        ("torch", _each(item.torch for item in used)),
        ("Budget of a trial", opened.budget.words),
        ("Wall time limit", f"{opened.budget.walltime_limit_s:g} s"),
        ("Workers", str(opened.workers)),
        ("Sandbox", _each(item.sandbox for item in finished)),
        ("Harness", opened.harness_sha256[:12]),
        ("Objective, budget and data", opened.objective_sha256[:12]),
        ("Flags", _each(flag for item in finished for flag in item.flags)),
    )
    return Section("What it was run on", "", ("", ""), rows)


def notes(study: StudyState) -> Section:
    rows = tuple((note.topic, note.agent_id, note.description, note.detail) for note in study.notes)
    return Section("Notes", "", ("topic", "from", "note", "detail"), rows, "None.")


def _ranked(study: StudyState, program: Program, rank: int) -> tuple[str, ...]:
    verdict, costs, claim, objective = program.verdict, deciding_costs(program), program.first.claim, study.objective
    return (
        str(rank),
        program.name,
        objective.text(fmean(costs)),
        objective.size(stdev(costs)) if len(costs) > 1 else UNKNOWN,
        str(len(costs)),
        objective.change(verdict.delta if verdict is not None else None),
        f"{verdict.probability:.2f}" if verdict is not None else UNKNOWN,
        standing(study, program),
        percent(mean_top1(program)),
        claim.agent_id,
        claim.description,
    )


def _mean_of(study: StudyState, program: Program | None) -> str:
    costs = deciding_costs(program) if program is not None else []
    if program is None or not costs:
        return "no result yet"
    return f"{program.name}: {study.objective.with_unit(study.objective.text(fmean(costs)))} over {len(costs)} run(s)"


def _each(values: Iterable[str | None]) -> str:
    """Distinct values with their counts, the most frequent first."""
    counts = Counter(value for value in values if value is not None)
    return ", ".join(f"{name} ({count})" for name, count in counts.most_common()) or "not recorded"
