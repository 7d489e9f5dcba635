"""The paired analysis of two arms. Pure: studies in, numbers out.

A pair is two studies with the same baseline, seed and budget, one an arm, run at the same time. Within a pair all is
read at equal trial counts: after as many trials as the shorter study has, noise floor, replicates and failures
included, since they cost the device the same. Over the pairs, the difference B minus A gets a percentile bootstrap
interval (Efron & Tibshirani 1993, chapter 13) with whole pairs as the unit; trials of one study depend on each other.

Not promised: that an interval over few pairs is wide enough. Below six pairs not even the exact sign test can reach
p < .05 (2 / 2**5 > .05), so no difference is claimed there, whatever the interval says.
"""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from swarm.compare.values import Arm, ArmResult, Checkpoint, Comparison, Cost, Interval, PairResult
from swarm.errors import SwarmError
from swarm.records import Decision, FailReason, ProposalClaimed, ProposalRejected, TrialFinished, VerdictReached
from swarm.study.devices import device_of
from swarm.study.state import StudyState
from swarm.study.trajectory import trajectory
from swarm.study.usage import total_usage

MIN_PAIRS = 6
RESAMPLES = 10_000
_COVERAGE = 0.95


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a study had come after some number of trials."""

    baseline_loss: float | None
    leading_loss: float | None
    confirmed_loss: float | None
    confirmed_gains: int


def compare(a: Arm, b: Arm, pairs: Sequence[PairResult], study: StudyState) -> Comparison:
    """All pairs together. `study` is any of theirs: it says what was run on what. Raises SwarmError without a pair."""
    if not pairs:
        raise SwarmError("no pair got as far as a baseline result in both arms, so there is nothing to compare")
    leading = bootstrap_interval([pair.b.leading_loss - pair.a.leading_loss for pair in pairs])
    confirmed = bootstrap_interval([pair.b.confirmed_loss - pair.a.confirmed_loss for pair in pairs])
    opened = study.opened
    return Comparison(
        a=a,
        b=b,
        target=opened.target,
        data=opened.data,
        device=opened.device_name,
        budget=f"{opened.budget.amount:g} {opened.budget.kind}",
        pairs=tuple(pairs),
        leading=leading,
        confirmed=confirmed,
        checkpoints=tuple(_checkpoints(pairs, opened.noise_replicates)),
        cost_a=_cost([pair.a for pair in pairs]),
        cost_b=_cost([pair.b for pair in pairs]),
        conclusion=conclude(a, b, leading),
    )


def compare_pair(a: StudyState, b: StudyState) -> PairResult | None:
    """One pair at equal trial counts; None while an arm has no result of its baseline.

    Raises SwarmError when the two did not start from the same program, seed, objective and harness.
    """
    _require_same_start(a, b)
    trials = min(len(_counted(a)), len(_counted(b)))
    results = [_arm_result(study, trials) for study in (a, b)]
    if results[0] is None or results[1] is None:
        return None
    return PairResult(
        seed=a.opened.seed,
        trials=trials,
        a=results[0],
        b=results[1],
        longest_block=longest_block(a, b),
        side_by_side=round(side_by_side(a, b), 4),
    )


def progress_after(study: StudyState, trials: int) -> Progress:
    """What the study led with and had confirmed once `trials` of its trials had ended and were judged."""
    limit = _seq_after(study, trials)
    losses: dict[str, list[float]] = {}
    in_finals: dict[str, list[float]] = {}
    for finished in _counted(study)[:trials]:
        if finished.validation_loss is not None:
            where = in_finals if study.trials[finished.trial_id].claim.finals else losses
            where.setdefault(study.program_of(finished.trial_id).name, []).append(finished.validation_loss)
    newest = {verdict.program: verdict for verdict in study.verdicts if verdict.seq < limit}
    told = {name: in_finals if said.finals else losses for name, said in newest.items() if _is_gain(said)}
    kept = [fmean(runs[name]) for name, runs in told.items() if name in runs]
    base = losses.get(study.baseline.name) if study.baseline else None
    baseline_loss = fmean(base) if base else None
    leading = [step.mean for step in trajectory(study) if step.seq < limit]
    return Progress(
        baseline_loss=baseline_loss,
        leading_loss=leading[-1] if leading else None,
        confirmed_loss=min(kept) if kept else baseline_loss,
        confirmed_gains=len(kept),
    )


def bootstrap_interval(differences: Sequence[float]) -> Interval:
    """Mean and percentile bootstrap interval. The same differences give the same interval."""
    count = len(differences)
    if count < 2:
        return Interval(mean=fmean(differences), low=None, high=None, n=count)
    rng = random.Random(0)
    means = sorted(fmean(rng.choices(differences, k=count)) for _ in range(RESAMPLES))
    tail = int(RESAMPLES * (1 - _COVERAGE) / 2)
    return Interval(mean=fmean(differences), low=means[tail], high=means[-1 - tail], n=count)


def longest_block(a: StudyState, b: StudyState) -> int:
    """Most trials in a row, by the time of their start and while both arms had trials to come, of the same arm."""
    starts = [sorted(t.started.at for t in study.trials.values() if t.started is not None) for study in (a, b)]
    if not all(starts):
        return max(map(len, starts))
    both_run_until = min(times[-1] for times in starts)
    order = sorted((at, side) for side, times in enumerate(starts) for at in times if at <= both_run_until)
    longest = run = 0
    previous = None
    for _, side in order:
        run = run + 1 if side == previous else 1
        longest, previous = max(longest, run), side
    return longest


def side_by_side(a: StudyState, b: StudyState) -> float:
    """The time in which both arms were between their first start and last end, over the time in which either was."""
    spans = [_span(study) for study in (a, b)]
    if spans[0] is None or spans[1] is None:
        return 0.0
    (start_a, end_a), (start_b, end_b) = spans[0], spans[1]
    either = max(end_a, end_b) - min(start_a, start_b)
    both = min(end_a, end_b) - max(start_a, start_b)
    return max(0.0, both) / either if either > 0 else 0.0


def conclude(a: Arm, b: Arm, leading: Interval) -> str:
    """One sentence that claims no more than the pairs carry."""
    if leading.n < MIN_PAIRS:
        return (
            f"{leading.n} pair{'s' if leading.n > 1 else ''}: too few for a claim. B's leading loss is "
            f"{leading.mean:+.4f} against A's; run at least --pairs {MIN_PAIRS}."
        )
    if not leading.excludes_zero:
        return f"No difference shown: B's leading loss is {interval_text(leading)} against A's."
    better, worse = (b, a) if leading.mean < 0 else (a, b)
    return (
        f"{better.label} ({better.name}) got further than {worse.label} ({worse.name}): leading loss, "
        f"B minus A, {interval_text(leading)}."
    )


def interval_text(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return f"{interval.mean:+.4f} (no interval: {interval.n} pair)"
    return f"{interval.mean:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"


def _is_gain(verdict: VerdictReached) -> bool:
    """A simplification is kept as well, at level none: it is shorter and no better."""
    return verdict.decision == Decision.KEEP and verdict.level == "confirmed"


def _require_same_start(a: StudyState, b: StudyState) -> None:
    for what in ("base_tree_sha256", "objective_sha256", "harness_sha256", "seed"):
        mine, theirs = getattr(a.opened, what), getattr(b.opened, what)
        if mine != theirs:
            raise SwarmError(
                f"{a.study_id} and {b.study_id} cannot be compared: {what} is {mine} in one and {theirs} in the other"
            )
    mine, theirs = device_of(a), device_of(b)
    if mine != theirs:
        raise SwarmError(f"{a.study_id} ran on {mine} and {b.study_id} on {theirs}: their results do not compare")


def _arm_result(study: StudyState, trials: int) -> ArmResult | None:
    progress = progress_after(study, trials)
    if progress.baseline_loss is None or progress.leading_loss is None or progress.confirmed_loss is None:
        return None
    counted = _counted(study)[:trials]
    limit = _seq_after(study, trials)
    refused = [rejection for rejection in study.rejections if rejection.seq < limit]
    claims = [study.trials[finished.trial_id].claim for finished in counted]
    calls, tokens, usd = _spent([*claims, *refused])
    spans = [study.trials[finished.trial_id].seconds for finished in counted]
    return ArmResult(
        study_id=study.study_id,
        baseline_loss=progress.baseline_loss,
        leading_loss=progress.leading_loss,
        confirmed_loss=progress.confirmed_loss,
        confirmed_gains=progress.confirmed_gains,
        curve=tuple(progress_after(study, count).leading_loss for count in range(1, trials + 1)),
        complete=sum(finished.score is not None for finished in counted),
        failed=dict(Counter(str(finished.reason) for finished in counted if finished.reason is not None)),
        refused=dict(Counter(rejection.code for rejection in refused)),
        calls=calls,
        tokens=tokens,
        usd=usd,
        device_s=round(sum(end - start for start, end in (span for span in spans if span is not None)), 1),
    )


def _spent(records: Iterable[ProposalClaimed | ProposalRejected]) -> tuple[int, int | None, float | None]:
    """Calls, tokens and USD. A sum with an unknown part is unknown; without a call both are zero."""
    spent = total_usage(record.usage for record in records if record.usage is not None)
    if spent is None:
        return 0, 0, 0.0
    counted = spent.input_tokens is not None and spent.output_tokens is not None
    tokens = (spent.input_tokens or 0) + (spent.output_tokens or 0) if counted else None
    return spent.calls, tokens, round(spent.usd, 6) if spent.usd is not None else None


def _counted(study: StudyState) -> list[TrialFinished]:
    """Endings in their order, without trials that a person's stop or a lost machine gave up."""
    endings = [trial.finished for trial in study.finished_trials() if trial.finished is not None]
    return [finished for finished in endings if finished.reason is not FailReason.ABANDONED]


def _seq_after(study: StudyState, trials: int) -> float:
    """The record before which exactly `trials` trials have ended, with the verdicts they led to."""
    counted = _counted(study)
    return counted[trials].seq if trials < len(counted) else float("inf")


def _span(study: StudyState) -> tuple[float, float] | None:
    spans = [trial.seconds for trial in study.trials.values() if trial.seconds is not None]
    return (min(start for start, _ in spans), max(end for _, end in spans)) if spans else None


def _checkpoints(pairs: Sequence[PairResult], noise_replicates: int) -> Iterable[Checkpoint]:
    """At a quarter, half, three quarters and all of the trials that every pair has after its noise floor."""
    after = min(pair.trials for pair in pairs) - noise_replicates
    shares = (0.25, 0.5, 0.75, 1.0) if after > 0 else ()
    for count in sorted({noise_replicates + round(after * share) for share in shares}):
        read = [(pair.a.curve[count - 1], pair.b.curve[count - 1]) for pair in pairs]
        differences = [theirs - mine for mine, theirs in read if mine is not None and theirs is not None]
        if differences:
            yield Checkpoint(trials=count, difference=bootstrap_interval(differences))


def _cost(results: Sequence[ArmResult]) -> Cost:
    gains = sum(result.confirmed_gains for result in results)
    tokens = [result.tokens for result in results if result.tokens is not None]
    usd = [result.usd for result in results if result.usd is not None]
    all_tokens = sum(tokens) if len(tokens) == len(results) else None
    all_usd = round(sum(usd), 6) if len(usd) == len(results) else None
    device_s = round(sum(result.device_s for result in results), 1)
    return Cost(
        confirmed_gains=gains,
        calls=sum(result.calls for result in results),
        device_s=device_s,
        device_s_per_gain=device_s / gains if gains else None,
        tokens=all_tokens,
        usd=all_usd,
        tokens_per_gain=all_tokens / gains if gains and all_tokens is not None else None,
        usd_per_gain=all_usd / gains if gains and all_usd is not None else None,
    )
