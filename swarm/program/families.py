"""Families of changes: what the search cools down, switches between and spends trials on.

A family says what a change is about, whoever proposes it: a sampler that moves `MAX_LR`, a model that rewrites the
optimiser and the edit library speak of the same `optimiser`. The order is a prior: what pays most within a short budget
comes first.
"""

import re

FAMILIES: tuple[str, ...] = (
    "schedule",
    "optimiser",
    "architecture",
    "augmentation",
    "normalisation",
    "batch",
    "activation",
    "averaging",
    "loss",
    "regularisation",
    "initialisation",
    "head",
)

OTHER = "other"

# The first family with a word in the constant's name wins: WEIGHT_DECAY before WEIGHT, LR_WARMUP as schedule.
_WORDS: tuple[tuple[str, str], ...] = (
    ("averaging", "EMA|SWA|LOOKAHEAD|AVERAGE|AVERAGING"),
    ("loss", "SMOOTHING|LOSS|FOCAL|TEMPERATURE"),
    ("regularisation", "DECAY|WD|DROPOUT|DROP|STOCHASTIC|CLIP|REG"),
    ("schedule", "WARMUP|WARM|HOLD|SCHEDULE|ANNEAL|COSINE|FINAL|PCT|DIV|MILESTONE|POWER"),
    ("optimiser", "LR|RATE|MOMENTUM|OPTIMIZER|OPTIMISER|GRADIENT|BETA|BETA1|BETA2|NESTEROV|EPS|MUON"),
    (
        "augmentation",
        "CROP|FLIP|CUTOUT|CUTMIX|MIXUP|MIX|PLAIN|AUG|AUGMENT|AUGMENTATION|JITTER|PAD|SHIFT|ERASE|RESOLUTION",
    ),
    ("normalisation", "NORM|BN|GN|GROUPNORM"),
    ("activation", "ACTIVATION|ACT|GELU|RELU|SILU"),
    ("batch", "BATCH|ACCUMULATION"),
    ("head", "HEAD|POOL|POOLING|CLASSIFIER"),
    ("initialisation", "INIT|ZERO"),
    (
        "architecture",
        "WIDTH|DEPTH|GROUPS|GROUP|CARDINALITY|STEM|STAGES|BLOCKS|EXPANSION|EXPAND|KERNEL|SE|SQUEEZE|CHANNELS|LAYERS|"
        "STRIDE|STRIDES|BOTTLENECK|SCALE|FUSED",
    ),
)


def family_of(constant: str) -> str:
    """The family that a constant's name speaks of, `other` when none of its words is known."""
    for family, words in _WORDS:
        if re.search(rf"(?:^|_)(?:{words})(?:_|$)", constant):
            return family
    return OTHER
