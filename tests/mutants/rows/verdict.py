"""Verdicts: what is called kept is kept."""

from mutants.safeguard import Edit, Safeguard

_DECISIONS = "swarm/verdict/decisions.py"
_EARLY = "swarm/verdict/early_stop.py"
_TESTS = ("swarm/verdict/test_verdict.py",)
_EARLY_TESTS = ("swarm/verdict/test_early_stop.py",)


def _row(name: str, what: str, file: str, old: str, new: str, tests: tuple[str, ...] = _TESTS) -> Safeguard:
    return Safeguard(name, what, Edit(file, old, new), tests)


ROWS = (
    _row(
        "noise-floor-first",
        "no verdict before the noise floor is measured",
        _DECISIONS,
        "noise.degrees >= study.opened.noise_replicates - 1 else None",
        "noise.degrees >= 1 else None",
    ),
    _row(
        "noise-without-lucky-runs",
        "the first run of a changed program is no measurement of noise",
        _DECISIONS,
        "[p.costs if p.parent is None else p.costs[1:] for p",
        "[p.costs for p",
    ),
    _row(
        "keep-needs-seeds",
        "nothing is kept on fewer than three seeds",
        _DECISIONS,
        "    if runs >= CONFIRMED_SEEDS and case.probability",
        "    if case.probability",
    ),
    _row(
        "keep-needs-proof",
        "nothing is kept that the luck of all tries explains",
        _DECISIONS,
        "case.probability >= CONFIRMED and case.proven:",
        "case.probability >= CONFIRMED:",
    ),
    _row(
        "keep-needs-probability",
        "nothing is kept with less than 95 % of being better",
        _DECISIONS,
        "runs >= CONFIRMED_SEEDS and case.probability >= CONFIRMED and",
        "runs >= CONFIRMED_SEEDS and",
    ),
    _row(
        "level-spent-over-tries",
        "the more is tried, the harder is a keep",
        "swarm/verdict/evidence.py",
        "    share = HALF_SPENT / ((position + HALF_SPENT - 1) * (position + HALF_SPENT))\n",
        "    share = 1.0\n",
    ),
    _row(
        "shrinkage",
        "what a lucky run shows is shrunk towards what proposals usually are",
        "swarm/verdict/evidence.py",
        "    precision = 1 / error**2 + 1 / prior.sd**2\n    mean = (difference / error**2 + prior.mean / prior.sd**2) / precision\n",
        "    precision = 1 / error**2\n    mean = difference\n",
    ),
    _row(
        "other-images-could-reverse",
        "a difference that other images could reverse is not kept",
        "swarm/verdict/evidence.py",
        "    return max(seeds, paired.standard_error) if paired is not None else seeds\n",
        "    return seeds\n",
    ),
    _row(
        "small-samples",
        "a noise floor from few runs counts for less",
        "swarm/verdict/evidence.py",
        "    return student_tail(-difference / error, noise.degrees)\n",
        "    return _STANDARD.cdf(difference / error)\n",
        (*_TESTS, "swarm/verdict/test_verdict_simulation.py::test_a_few_nights_of_nulls_keep_next_to_nothing"),
    ),
    _row(
        "lead-beats-incumbent",
        "who beats only its own parent does not lead",
        _DECISIONS,
        "case.probability >= PROVISIONAL and rival >= PROVISIONAL and far_enough",
        "case.probability >= PROVISIONAL and far_enough",
    ),
    _row(
        "lead-harder-after-falls",
        "after leaders fell, a lead needs a whole sigma",
        _DECISIONS,
        "    far_enough = not strict or gain",
        "    far_enough = True or gain",
    ),
    _row(
        "luck-rolled-back",
        "a leader that its replicates refute falls",
        _DECISIONS,
        "    if runs > 1 and case.probability < 0.5:\n",
        "    if False:\n",
    ),
    _row(
        "discarded-parent-skipped",
        "a child of a discarded parent is judged against the next ancestor",
        _DECISIONS,
        "if one.costs and not _discarded(one)), None)",
        "if one.costs), None)",
    ),
    _row(
        "same-loss-flagged",
        "the same loss under another program is flagged",
        _DECISIONS,
        '        if f"{study.objective.value(trial.cost):.6f}" ==',
        '        if "no" ==',
    ),
    _row(
        "replicates-before-keeps",
        "promising programs are run again, most promising first",
        "swarm/verdict/replication.py",
        '        verdict.level == "provisional"\n        or',
        "        False\n        or",
    ),
    _row(
        "replicates-bounded",
        "replicates take at most a fifth of the trials",
        "swarm/verdict/replication.py",
        "    return owed[:credit]\n",
        "    return owed\n",
    ),
    Safeguard(
        "replicate-on-a-fresh-seed",
        "a replicate has a seed that no trial had",
        Edit(
            "workers/claims.py",
            '            "operator": Operator.REPLICATE,\n            "seed": trial_seed(settings.seed, trial_id),\n',
            '            "operator": Operator.REPLICATE,\n',
        ),
        ("workers/test_claims.py",),
    ),
    Safeguard(
        "seed-by-the-harness",
        "each trial's seed is its own, and the same in each repetition of the study",
        Edit("workers/claims.py", 'f"{study_seed}/{trial_id}".encode()', "b''"),
        ("workers/test_claims.py",),
    ),
    _row(
        "early-stop-needs-curves",
        "nothing is ended before eight full trials",
        _EARLY,
        "    if len(finished) < FULL_TRIALS or incumbent",
        "    if incumbent",
        _EARLY_TESTS,
    ),
    _row(
        "early-stop-spares-replicates",
        "baselines and replicates run to their end",
        _EARLY,
        "    if trial.claim.operator in _NEVER_ENDED:\n",
        "    if False:\n",
        _EARLY_TESTS,
    ),
    _row(
        "early-stop-audit",
        "a tenth goes on, so that the false prunes are known",
        _EARLY,
        "    if is_audited(study.study_id, trial_id):\n",
        "    if False:\n",
        _EARLY_TESTS,
    ),
    _row(
        "early-stop-spares-slow-starters",
        "families that start slowly are not judged at the first rung",
        _EARLY,
        "    if progress < RUNGS[1] and is_slow_starter(trial.claim.family):\n",
        "    if False:\n",
        _EARLY_TESTS,
    ),
    _row(
        "early-stop-knows-the-noise",
        "no curve foretells the noise",
        _EARLY,
        "    residual = max(math.sqrt(squares / (count - 2)), least_sd)\n",
        "    residual = math.sqrt(squares / (count - 2))\n",
        _EARLY_TESTS,
    ),
)
