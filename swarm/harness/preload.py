"""Everything a trial imports, loaded without a second thread and without touching CUDA: for a process that will fork.

import swarm.harness.preload as preload
preload.assert_forkable()
if os.fork() == 0: os._exit(train_phase.run(path))
"""

import os
import sys
from pathlib import Path

from swarm.harness.errors import HarnessError

# Thread pools that numpy's and torch's libraries would start while being imported, and CUDA checks that would create a
# context: both do not survive a fork. A trial sets its own thread count afterwards.
for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # read when torch._dynamo is imported, and not again

import torch  # noqa: E402
import torch._dynamo  # noqa: E402  (the first optimiser imports it: a second of CPU time)
import torchvision  # noqa: E402, F401

from swarm.harness import augment, compiling, data, handin, loop, predict_phase, session, train_phase  # noqa: E402, F401


class NotForkable(HarnessError):
    """Forking this process now would give broken children."""


def assert_forkable() -> None:
    """Raises NotForkable unless this process has one thread and no CUDA context."""
    threads = len(list(Path("/proc/self/task").iterdir())) if sys.platform == "linux" else 1
    if threads != 1:
        raise NotForkable(f"this process has {threads} threads, a fork copies only one: start it before any work")
    if torch.cuda.is_initialized():
        raise NotForkable("CUDA is initialised in this process, and a child cannot use the inherited context")
