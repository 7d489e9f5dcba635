"""The blackboard: one append-only file of JSON lines that every process of a study shares.

`Brain` appends and replays, `merge` adds what another file has, `verify` checks the chain, `read_records` streams the
lines of a file. The format is in docs/reference/brain-format.md; what the records mean is in `swarm.records`, what they
add up to in `swarm.study.state`.
"""

from swarm.brain.blackboard import Brain
from swarm.brain.disk import Disk
from swarm.brain.lines import GENESIS, BadLine
from swarm.brain.merging import Merged, MergeRefused, first_of, merge, merged_file
from swarm.brain.verify import VerifyReport, read_records, verify

__all__ = [
    "GENESIS",
    "BadLine",
    "Brain",
    "Disk",
    "MergeRefused",
    "Merged",
    "VerifyReport",
    "first_of",
    "merge",
    "merged_file",
    "read_records",
    "verify",
]
