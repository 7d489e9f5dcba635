"""The tables of the report, as plain text cells, in the order in which a reader wants them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import stdev

from swarm.records import Decision, TrialState
from swarm.report.memory import lift_text, memory_rows, number, percent
from swarm.report.summary import standing
from swarm.study.state import Program, StudyState, overlapping_pairs
from swarm.verdict import is_simplification, study_noise
from swarm.verdict.early_stop import false_prune_rate

MOST_REFUSALS = 20


@dataclass(frozen=True, slots=True)
class Section:
    """A titled table. `empty` is what to say when it has no rows."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    empty: str = "Nothing."


def sections(study: StudyState) -> list[Section]:
    return [
        overview(study),
        ranking(study),
        negative_findings(study),
        failures(study),
        refusals(study),
        memory_use(study),
        ran_on(study),
        notes(study),
    ]


def overview(study: StudyState) -> Section:
    trials = list(study.trials.values())
    noise, prunes = study_noise(study), false_prune_rate(study)
    base, incumbent = study.baseline, study.incumbent
    complete = sum(trial.state is TrialState.COMPLETE for trial in trials)
    failed = sum(trial.state is TrialState.FAILED for trial in trials)
    kept = [program for program in study.programs.values() if program.kept]
    simpler = sum(program.verdict is not None and is_simplification(program.verdict) for program in kept)
    replicates = sum(max(0, len(program.trials) - 1) for program in study.programs.values())
    sigma = f"{noise.sigma:.4f} nats, {noise.degrees} degrees of freedom" if noise is not None else "not measured yet"
    rate = f"{percent(prunes.rate)} ({prunes.wrong} of {prunes.audited} audited); {prunes.pruned} trials were ended"
    rows = (
        ("Trials", f"{len(trials)}: {complete} complete, {failed} failed, {len(study.open_trials())} open"),
        ("Programs", f"{len(study.programs)}, with {replicates} replicates beyond their first runs"),
        ("Kept", f"{len(kept) - simpler} confirmed better, {simpler} simpler and not worse"),
        ("Baseline", _mean_of(base)),
        ("Incumbent", _mean_of(incumbent)),
        ("Noise floor", sigma),
        ("Refused proposals", str(len(study.rejections))),
        ("Pairs of trials that overlapped in time", str(sum(1 for _ in overlapping_pairs(trials)))),
        ("Early stopping, wrongly ended", rate),
        ("Ended", study.closed.reason if study.closed is not None else "still open"),
    )
    return Section("Overview", "", ("", ""), rows)


def ranking(study: StudyState) -> Section:
    rows = tuple(_ranked(study, program, rank) for rank, program in enumerate(study.ranked(), 1))
    note = (
        "Mean validation loss in nats, lowest first. The order alone proves nothing: with equal programs somebody is "
        "first too. Delta, P and the verdict are against the parent. Only what is kept is shown to be better (or "
        "shorter and not worse)."
    )
    columns = ("rank", "program", "mean", "sd", "n", "delta", "P(better)", "verdict", "top-1", "worker", "change")
    return Section("Programs by mean loss", note, columns, rows, "No program has a loss yet.")


def negative_findings(study: StudyState) -> Section:
    """Discarded programs, gathered by family, clearest first."""
    discarded = [p for p in study.programs.values() if p.verdict and p.verdict.decision == Decision.DISCARD]
    ordered = sorted(discarded, key=lambda p: p.verdict.probability if p.verdict is not None else 0.0)
    rows = tuple(
        (p.first.claim.family, p.name, number(p.verdict.delta, signed=True), p.first.claim.description, p.verdict.why)
        for p in ordered
        if p.verdict is not None
    )
    columns = ("family", "program", "delta", "change", "why")
    return Section("What did not help", "Clearest first.", columns, rows, "Nothing has been discarded.")


def failures(study: StudyState) -> Section:
    rows = tuple(
        (
            t.trial_id,
            t.reason.value,
            t.claim.description,
            t.finished.detail.partition("\n")[0],
        )
        for t in study.finished_trials()
        if t.reason is not None and t.finished is not None
    )
    counts = Counter(reason for _, reason, _, _ in rows)
    note = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
    return Section("Failed trials", note, ("trial", "reason", "change", "detail"), rows, "None.")


def refusals(study: StudyState) -> Section:
    counts = Counter(rejection.code for rejection in study.rejections)
    note = ", ".join(f"{count} {code}" for code, count in counts.most_common())
    if len(study.rejections) > MOST_REFUSALS:
        note += f". The last {MOST_REFUSALS}:"
    rows = tuple((r.agent_id, r.code, r.description, r.detail) for r in study.rejections[-MOST_REFUSALS:])
    return Section("Refused before they cost training", note, ("worker", "code", "proposal", "why"), rows, "None.")


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
            f"{number(row.prediction_error)} over {row.predictions}",
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
        ("Device", f"{opened.device_name} ({opened.device})"),
        ("torch", _each(item.torch for item in used)),
        ("Budget of a trial", f"{opened.budget.amount:g} {opened.budget.kind}"),
        ("Wall time limit", f"{opened.budget.walltime_limit_s:g} s"),
        ("Workers", str(opened.workers)),
        ("Sandbox", _each(item.sandbox for item in finished)),
        ("Harness", opened.harness_sha256[:12]),
        ("Objective", opened.objective_sha256[:12]),
        ("Flags", _each(flag for item in finished for flag in item.flags)),
    )
    return Section("What it was run on", "", ("", ""), rows)


def notes(study: StudyState) -> Section:
    rows = tuple((note.topic, note.agent_id, note.description, note.detail) for note in study.notes)
    return Section("Notes", "", ("topic", "from", "note", "detail"), rows, "None.")


def _ranked(study: StudyState, program: Program, rank: int) -> tuple[str, ...]:
    verdict, losses, claim = program.verdict, program.losses, program.first.claim
    scores = [t.finished.score.top1 for t in program.trials if t.finished is not None and t.finished.score is not None]
    return (
        str(rank),
        program.name,
        number(program.mean),
        number(stdev(losses) if len(losses) > 1 else None),
        str(len(losses)),
        number(verdict.delta if verdict is not None else None, signed=True),
        number(verdict.probability if verdict is not None else None, 2),
        standing(study, program),
        percent(sum(scores) / len(scores)) if scores else "n/a",
        claim.agent_id,
        claim.description,
    )


def _mean_of(program: Program | None) -> str:
    if program is None or program.mean is None:
        return "no loss yet"
    return f"{program.name}: {program.mean:.4f} over {len(program.losses)} run(s)"


def _each(values: Iterable[str | None]) -> str:
    """Distinct values with their counts, the most frequent first."""
    counts = Counter(value for value in values if value is not None)
    return ", ".join(f"{name} ({count})" for name, count in counts.most_common()) or "not recorded"
