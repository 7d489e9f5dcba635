"""Phase 1, sandboxed: runs the candidate's `main()`. Leaves weights and a log in train_out, and no score.

SWARM_TRIAL=T/harness.json python -m swarm.harness.train_phase
"""

import os
import sys
from pathlib import Path

from swarm.harness import compiler
from swarm.harness import config as configuration
from swarm.harness.errors import ContractBroken
from swarm.harness.memory_errors import reported
from swarm.harness.program import entry, exit_code_of, import_first, load_program
from swarm.harness.session import Session, open_session
from swarm.trial.config import TrialConfig


def run(path: Path | None = None) -> int:
    """Trains the trial that `path` (or SWARM_TRIAL) describes, in this process; returns its exit code."""
    return exit_code_of(lambda: train(configuration.load(path)))


def train(config: TrialConfig, kind: type[Session] = Session) -> None:
    """Runs the program's `main()` in this process. Raises a HarnessError, or whatever the program raises."""
    with reported(config, config.folder.oom_report):
        session = open_session(config, kind=kind)
        import_first(config.program_file)
        if reason := compiler.prepare(config.program_file, config.device, session.why_uncompiled()):
            session.note_compilation(f"not compiled: {reason}")
        session.begin()
        program = load_program(config.program_file)
        entry(program, "build_model")
        entry(program, "main")()
    if not session.finished:
        raise ContractBroken("main() returned without finish(model): there is nothing to score")


if __name__ == "__main__":
    code = run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # everything is on disk; tearing torch down would only take time
