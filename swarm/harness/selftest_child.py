"""One job of the card's self-test, in a process of its own, because only here torch is imported.

    python selftest_child.py compute                 compute something on each card, and say what torch is built for
    python selftest_child.py context                 print the MiB that a bare context costs, as torch sees the device
    python selftest_child.py train SECONDS MIB       hold MIB and train a small network; one line a second
    python selftest_child.py overrun MIB             allocate beyond the cap of this process; says who stopped it
    python -m swarm.harness.selftest_child          as `compute`, as a phase inside the sandbox of a trial

Each line of output is a JSON object. The allocator's cap comes from PYTORCH_ALLOC_CONF and, for torch versions that do
not know it there, from SELFTEST_FRACTION.
"""

import json
import os
import sys
import time

import torch

MIB = 1024 * 1024
NO_CUDA = 14


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] == "compute":
        return compute()
    if not torch.cuda.is_available():
        _say(error="torch sees no CUDA device")
        return NO_CUDA
    fraction = os.environ.get("SELFTEST_FRACTION")
    if fraction is not None:
        torch.cuda.set_per_process_memory_fraction(float(fraction))
    what, *numbers = arguments
    if what == "context":
        context()
    elif what == "train":
        train(float(numbers[0]), int(numbers[1]))
    else:
        overrun(int(numbers[0]))
    return 0


def context() -> None:
    """Hold one tensor until a line arrives on stdin, so that the parent can read the device meanwhile."""
    held = torch.zeros(1, device="cuda")
    torch.cuda.synchronize()
    _say(pid=os.getpid(), reserved_mib=torch.cuda.memory_reserved() // MIB, torch=torch.__version__)
    sys.stdin.readline()
    del held


def compute() -> int:
    """On each card that torch sees: needs the driver, a context, and a kernel of cuDNN. Says what went wrong."""
    error, totals = "", list[float]()
    try:
        torch.cuda.init()
        for index in range(torch.cuda.device_count()):
            image = torch.ones(1, 3, 8, 8, device=f"cuda:{index}")
            weights = torch.ones(4, 3, 3, 3, device=image.device)
            totals.append(torch.nn.functional.conv2d(image, weights).sum().item())
    except (RuntimeError, AssertionError) as refused:  # torch.AcceleratorError is a RuntimeError
        error = f"torch sees no CUDA device that works: {refused}"
    if not error and not totals:
        error = "torch sees no CUDA device"
    _say(torch=torch.__version__, built_for=torch.version.cuda, computed=totals, error=error[:2000])
    return NO_CUDA if error else 0


def train(seconds: float, mib: int) -> None:
    held = torch.empty(mib * MIB, dtype=torch.uint8, device="cuda")
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 64, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(64, 64, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(64 * 32 * 32, 100),
    ).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    images = torch.randn(256, 3, 32, 32, device="cuda")
    labels = torch.randint(0, 100, (256,), device="cuda")
    _step(model, optimizer, images, labels)
    torch.cuda.synchronize()
    began = last = time.monotonic()
    steps, longest, told = 0, 0.0, began
    _say(pid=os.getpid(), started=True)
    while (now := time.monotonic()) - began < seconds:
        _step(model, optimizer, images, labels)
        torch.cuda.synchronize()
        steps += 1
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
        if now - told >= 1.0:
            told = now
            _say(steps=steps)
    _say(done=True, steps=steps, steps_per_s=steps / (time.monotonic() - began), longest_pause_s=longest)
    del held


def overrun(mib: int) -> None:
    """Allocate in pieces of 64 MiB up to `mib`."""
    held: list[torch.Tensor] = []
    try:
        while len(held) * 64 < mib:
            held.append(torch.empty(64 * MIB, dtype=torch.uint8, device="cuda"))
    except torch.OutOfMemoryError as error:
        _say(out_of_memory=True, held_mib=len(held) * 64, message=str(error)[:1000])
        return
    _say(out_of_memory=False, held_mib=len(held) * 64)


def _step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor, labels: torch.Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    torch.nn.functional.cross_entropy(model(images), labels).backward()
    optimizer.step()


def _say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
