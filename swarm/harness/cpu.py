"""A training on the CPU: memory that is kept.

glibc hands large blocks back to the kernel when they are freed and asks for them again in the next step, which has to
clear them: two thousand page faults a step. Kept, they cost nothing.
"""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h
_NEVER = (1 << 31) - 1


def keep_memory() -> None:
    """For this process. A C library without mallopt goes on as it was."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, _NEVER)
