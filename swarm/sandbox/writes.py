"""A wall against writing: `python writes.py ROOT... -- COMMAND...` runs a command that may write below the roots alone.

For programs that need the network and read what they like, such as a coding agent. Started by its path, with the
standard library alone. Where the kernel has no Landlock of version 3 or later the command runs without a wall;
`landlock.abi` says so.

Not promised: anything about reading or the network.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from swarm.sandbox.landlock import restrict_writing

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/ptmx", "/dev/pts")


def main(arguments: list[str]) -> None:
    end = arguments.index("--")
    restrict_writing(arguments[:end], DEVICES)
    os.execvp(arguments[end + 1], arguments[end + 1 :])


if __name__ == "__main__":
    main(sys.argv[1:])
