"""Two ways to propose, side by side from one baseline: which one got further, at what cost, and how sure is that?

`analysis` turns pairs of studies into numbers and `text` into tables (both pure), `run` makes the studies.
"""

from swarm.compare.analysis import (
    MIN_PAIRS,
    Arm,
    ArmResult,
    Comparison,
    Interval,
    PairResult,
    bootstrap_interval,
    compare,
    compare_pair,
    longest_block,
    standing_after,
)
from swarm.compare.run import CompareOptions, named_arm, run_comparison
from swarm.compare.text import comparison_lines, comparison_markdown

__all__ = [
    "MIN_PAIRS",
    "Arm",
    "ArmResult",
    "CompareOptions",
    "Comparison",
    "Interval",
    "PairResult",
    "bootstrap_interval",
    "compare",
    "compare_pair",
    "comparison_lines",
    "comparison_markdown",
    "longest_block",
    "named_arm",
    "run_comparison",
    "standing_after",
]
