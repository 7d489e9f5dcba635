"""What the orchestrator has to tell: written at once, or when the disk has room and the brain's lock is free again."""

from swarm.brain import Brain
from swarm.brain.seal import identified
from swarm.errors import BrainError, BrainNotOurs, BrainReplaced
from swarm.records import Record


class Telling:
    """Records for one brain, in their order. A brain that is lost or another program's file is no passing trouble."""

    def __init__(self, brain: Brain) -> None:
        self._brain = brain
        self.unwritten: list[Record] = []

    def tell(self, *records: Record) -> str | None:
        """None when all is written, else why it waits. Raises BrainReplaced and BrainNotOurs."""
        self.unwritten += [identified(record) for record in records]
        try:
            self._brain.append(*self.unwritten)
        except (BrainReplaced, BrainNotOurs):
            raise
        except BrainError as problem:
            return str(problem)
        self.unwritten.clear()
        return None

    def close(self, last: Record) -> None:
        """Everything that waits, and the last record. Raises BrainError when it cannot be written."""
        self._brain.append(*self.unwritten, last)
        self.unwritten.clear()
