"""The first process of a fake pod: as in a container, all others end with it.

python -m swarm.pods.fake.init WORD...   runs the words, and gives their exit code
"""

import ctypes
import signal
import subprocess
import sys
from types import FrameType

import psutil  # type: ignore[import-untyped]

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def main(words: list[str]) -> int:
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    signal.signal(signal.SIGTERM, _leave)
    try:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        return process.wait()
    finally:
        end_all()


def _leave(_number: int, _frame: FrameType | None) -> None:
    end_all()
    raise SystemExit(137)


def end_all() -> None:
    """Every descendant, until none is left: what one of them starts meanwhile is found in the next round."""
    while left := psutil.Process().children(recursive=True):
        for child in left:
            try:
                child.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(left, timeout=1.0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
