"""python -m swarm.drill.writer BRAIN NAME [ROOM]: appends notes to a brain, and says each id once it is acknowledged.

With ROOM the disk is full after so many more bytes: the kernel lets this process write no file beyond that size. It
then says `full` and what the error says, gets its room back, and appends once more.
"""

import itertools
import resource
import sys
from pathlib import Path

from swarm.brain import Brain
from swarm.drill.target import NAME
from swarm.errors import DiskFull
from swarm.records import Note

FULL_AFTER = 50  # appends, by then it should have been


def main(arguments: list[str]) -> int:
    path, name = Path(arguments[0]), arguments[1]
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if len(arguments) > 2:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + int(arguments[2]), hard))
    brain = Brain(path)
    for number in itertools.count() if len(arguments) == 2 else range(FULL_AFTER):
        note = Note(study_id=NAME, id=f"{name}-{number}", description="x" * 40)
        try:
            brain.append(note)
        except DiskFull as error:
            print(f"full {error}", flush=True)
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            brain.append(note)
            print(note.id, flush=True)
            return 0
        print(note.id, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
