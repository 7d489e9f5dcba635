"""Phase 1, sandboxed: runs the candidate's `main()`. Leaves weights and a log in train_out, and no score.

SWARM_TRIAL=T/harness.json python -m swarm.harness.train_phase
"""

import json
import os
import re
import sys
from pathlib import Path

import torch
import torch._dynamo

from swarm.harness import compiler
from swarm.harness import config as configuration
from swarm.harness.errors import ContractBroken, OutOfMemory
from swarm.harness.program import entry, exit_code_of, import_first, load_program
from swarm.harness.session import Session, open_session
from swarm.trial.config import TrialConfig

_MIB = 1 << 20
_UNITS = {"bytes": 1, "KiB": 1 << 10, "MiB": _MIB, "GiB": 1 << 30}


def run(path: Path | None = None) -> int:
    """Trains the trial that `path` (or SWARM_TRIAL) describes, in this process; returns its exit code."""
    return exit_code_of(lambda: train(configuration.load(path)))


def train(config: TrialConfig, kind: type[Session] = Session) -> None:
    """Runs the program's `main()` in this process. Raises a HarnessError, or whatever the program raises."""
    try:
        session = open_session(config, kind=kind)
        import_first(config.program_file)
        if reason := compiler.prepare(config.program_file, config.device):
            session.note_compilation(f"not compiled: {reason}")
        session.begin()
        program = load_program(config.program_file)
        entry(program, "build_model")
        entry(program, "main")()
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _out_of_memory(config, str(error)) from error
    except RuntimeError as error:
        if "DefaultCPUAllocator: can't allocate memory" not in str(error):
            raise
        raise _out_of_memory(config, str(error)) from error
    if not session.finished:
        raise ContractBroken("main() returned without finish(model): there is nothing to score")


def _out_of_memory(config: TrialConfig, message: str) -> OutOfMemory:
    """Leaves train_out/oom.json, so that admission can tell a trial's own cap from a full device."""
    facts: dict[str, int | None] = {"requested": _requested(message), "reserved": None, "allowed": None}
    facts |= {"device_free": None, "device_total": None}
    if config.device == "cuda" and torch.cuda.is_initialized():
        free, total = torch.cuda.mem_get_info()
        facts |= {"reserved": torch.cuda.memory_reserved(), "device_free": free, "device_total": total}
        facts["allowed"] = int((config.memory_fraction or 1.0) * total)
    elif config.memory_cap_mib is not None:
        facts["allowed"] = config.memory_cap_mib * _MIB
    (config.folder.oom_report).write_text(json.dumps(facts) + "\n")
    return OutOfMemory(f"{message.splitlines()[0] if message else 'out of memory'} (allowed: {facts['allowed']} bytes)")


def _requested(message: str) -> int | None:
    """How much the failing allocation asked for, as torch words it, in bytes."""
    found = re.search(r"[Tt]ried to allocate ([\d.]+) (bytes|KiB|MiB|GiB)", message)
    return int(float(found[1]) * _UNITS[found[2]]) if found else None


if __name__ == "__main__":
    code = run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # everything is on disk; tearing torch down would only take time
