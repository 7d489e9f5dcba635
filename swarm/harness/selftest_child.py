"""One job of the card's self-test, in a process of its own, because only here torch is imported.

    python selftest_child.py context                 print the MiB that a bare context costs, as torch sees the device
    python selftest_child.py train SECONDS MIB       hold MIB and train a small network; one line a second
    python selftest_child.py overrun MIB             allocate beyond the cap of this process; says who stopped it
    python -m swarm.harness.selftest_child          compute something, as a phase inside the sandbox of a trial

Each line of output is a JSON object. The allocator's cap comes from PYTORCH_ALLOC_CONF and, for torch versions that do
not know it there, from SELFTEST_FRACTION.
"""

import json
import os
import sys
import time

import torch

MIB = 1024 * 1024


def main(arguments: list[str]) -> int:
    if not torch.cuda.is_available():
        _say(error="torch sees no CUDA device")
        return 14
    fraction = os.environ.get("SELFTEST_FRACTION")
    if fraction is not None:
        torch.cuda.set_per_process_memory_fraction(float(fraction))
    what, *numbers = arguments or ["compute"]
    if what == "compute":
        compute()
    elif what == "context":
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


def compute() -> None:
    """Needs the driver, a context, and a kernel of cuDNN."""
    image = torch.ones(1, 3, 8, 8, device="cuda")
    total = torch.nn.functional.conv2d(image, torch.ones(4, 3, 3, 3, device="cuda")).sum().item()
    _say(computed=total, torch=torch.__version__)


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
