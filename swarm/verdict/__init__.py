"""Is the challenger better than the noise? Pure statistics: values in, verdicts out.

`evidence` holds the formulas, `decisions` turns a study into verdicts, `replication` says which program deserves
another seed. What each level promises, and what not, with the simulated error rates: docs/explanation/verdicts.md.
"""

from swarm.verdict.decisions import conclude, judge, reference, stale, study_noise
from swarm.verdict.evidence import (
    PRIOR,
    NoiseFloor,
    Normal,
    PairedDifference,
    confirmation_level,
    measure_noise,
    noise_floor,
    p_value,
    paired_difference,
    prior_for,
    probability_better,
    standard_error,
    student_tail,
)
from swarm.verdict.replication import replicate_credit, replicates_owed, wants_replicate

__all__ = [
    "PRIOR",
    "NoiseFloor",
    "Normal",
    "PairedDifference",
    "conclude",
    "confirmation_level",
    "judge",
    "measure_noise",
    "noise_floor",
    "p_value",
    "paired_difference",
    "prior_for",
    "probability_better",
    "reference",
    "replicate_credit",
    "replicates_owed",
    "stale",
    "standard_error",
    "student_tail",
    "study_noise",
    "wants_replicate",
]
