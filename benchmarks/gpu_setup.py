"""Where the seconds before a target's first steps go on a card, and what a step takes after them.

    python benchmarks/gpu_setup.py [--target resnext|efficientnet] [--compile] [--search] [--device cuda|cpu]

Without the harness: the program's own model, optimiser and loss, in a process of its own, on random images. `--search`
lets cuDNN try its algorithms (`cudnn.benchmark`). One JSON line: seconds of each part, milliseconds of a step (mean of
the last ten of 30), MiB reserved.
"""

import argparse
import json
import sys
import time
from importlib import util
from pathlib import Path
from types import ModuleType

import torch

ROOT = Path(__file__).resolve().parents[1]
STEPS, TIMED = 30, 10


def program_of(target: str) -> ModuleType:
    sys.path.insert(0, str(ROOT))
    spec = util.spec_from_file_location("program", ROOT / "models" / target / "train.py")
    assert spec is not None and spec.loader is not None
    program = util.module_from_spec(spec)
    spec.loader.exec_module(program)
    return program


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", choices=("resnext", "efficientnet"), default="resnext")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--search", action="store_true")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    options = parser.parse_args()
    device = torch.device(options.device)
    torch.backends.cudnn.benchmark = options.search
    parts: dict[str, float] = {}

    def done(name: str) -> None:
        nonlocal began
        if device.type == "cuda":
            torch.cuda.synchronize()
        parts[name] = round(time.monotonic() - began, 2)
        began = time.monotonic()

    began = time.monotonic()
    torch.empty(1, device=device)
    done("context_s")
    program = program_of(options.target)
    program.device = device  # type: ignore[attr-defined] # where no trial runs the harness says cpu
    model = program.build_model().to(device, memory_format=torch.channels_last)
    done("build_s")
    optimizer = program.build_optimizer(model)
    done("optimizer_s")
    network = torch.compile(model, dynamic=False) if options.compile else model
    images = torch.rand(program.BATCH_SIZE, 3, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, program.CLASSES, (program.BATCH_SIZE,), device=device)
    done("batch_s")
    for step in range(STEPS if device.type == "cuda" else 1):
        loss = program.loss_of(network, images, labels)
        if step == 0:
            done("first_forward_s")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if step == 0:
            done("first_backward_s")
        if step == STEPS - TIMED - 1:
            done("warm_steps_s")
    ended = began
    if device.type == "cuda":
        torch.cuda.synchronize()
    step_ms = round(1000 * (time.monotonic() - ended) / TIMED, 2) if device.type == "cuda" else None
    reserved = torch.cuda.max_memory_reserved() >> 20 if device.type == "cuda" else None
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    about = {"target": options.target, "compile": options.compile, "search": options.search, "device": name}
    print(json.dumps({**about, **parts, "step_ms": step_ms, "reserved_mib": reserved}))


if __name__ == "__main__":
    main()
