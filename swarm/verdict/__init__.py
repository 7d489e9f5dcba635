"""Is the challenger better than the noise? Pure statistics: values in, verdicts out.

`evidence` holds the formulas, `decisions` turns the trials of a search into verdicts, `replication` says which program
deserves another seed, `plan` and `finals` decide what is kept. What each standing promises, and what not, with the
simulated error rates: docs/verdicts.md.
"""

from swarm.verdict.decisions import conclude, judge, reference, stale, study_noise
from swarm.verdict.evidence import (
    PRIOR,
    Comparison,
    NoiseFloor,
    Normal,
    PairedDifference,
    mass_below_zero,
    measure_noise,
    noise_floor,
    own_noise,
    paired_difference,
    posterior,
    prior_for,
    standard_error,
    student_quantile,
    student_tail,
    welch,
)
from swarm.verdict.replication import contenders, replicate_credit, replicates_owed

__all__ = [
    "PRIOR",
    "Comparison",
    "NoiseFloor",
    "Normal",
    "PairedDifference",
    "conclude",
    "contenders",
    "judge",
    "mass_below_zero",
    "measure_noise",
    "noise_floor",
    "own_noise",
    "paired_difference",
    "posterior",
    "prior_for",
    "reference",
    "replicate_credit",
    "replicates_owed",
    "stale",
    "standard_error",
    "student_quantile",
    "student_tail",
    "study_noise",
    "welch",
]
