"""May this proposal run? Answered from texts alone, before it costs a second of training.

The gate is hygiene: it catches mistakes, repeats and edits that could never count, and says what to do instead. It is
not a wall. A determined program gets past any list of names; what holds it is the sandbox of the trial and the scorer,
which believes nothing that the program says. A replicate does not pass here: it repeats on purpose.
"""

from swarm.gate.answers import Code, Passed, Refusal, Tried
from swarm.gate.check import check, check_base
from swarm.program.tree import tree_sha256

__all__ = ["Code", "Passed", "Refusal", "Tried", "check", "check_base", "tree_sha256"]
