"""Two ways to propose, side by side from one baseline: which one got further, at what cost, and how sure is that?

`analysis` turns pairs of studies into `values` and `text` turns those into tables (all pure), `run` makes the studies.
"""

from swarm.compare.run import CompareOptions, named_arm, run_comparison
from swarm.compare.text import comparison_lines, comparison_markdown
from swarm.compare.values import Arm

__all__ = ["Arm", "CompareOptions", "comparison_lines", "comparison_markdown", "named_arm", "run_comparison"]
