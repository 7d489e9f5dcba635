"""Phase 3, sandboxed: a fresh process rebuilds the model, loads the frozen weights and writes logits. No labels here.

SWARM_TRIAL=T/harness.json python -m swarm.harness.predict_phase
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from swarm.harness import compiler
from swarm.harness import config as configuration
from swarm.harness.checkpoint import load_weights
from swarm.harness.errors import ContractBroken, DataMissing, InvalidOutput
from swarm.harness.handin import memory_facts
from swarm.harness.loop import forward
from swarm.harness.memory_errors import reported
from swarm.harness.optimizers import StepCount
from swarm.harness.program import entry, exit_code_of, import_first, load_program
from swarm.harness.session import open_session, seconds_since_process_start
from swarm.harness.text import VOCABULARY
from swarm.trial.asked import Harness
from swarm.trial.config import Device, TrialConfig
from swarm.trial.contract import candidate_begins

BATCH: dict[Harness, dict[Device, int]] = {"images": {"cpu": 125, "cuda": 500}, "text": {"cpu": 32, "cuda": 64}}
"""On a CPU a larger one is not faster, and has to have more memory cleared for it."""


def run(path: Path | None = None) -> int:
    """Predicts for the trial that `path` (or SWARM_TRIAL) describes, in this process; returns its exit code."""
    return exit_code_of(lambda: _predict(configuration.load(path)))


def _predict(config: TrialConfig) -> None:
    shown = config.folder.images if config.harness == "images" else config.folder.windows
    facts = predict(config, shown, config.folder.logits, BATCH[config.harness][config.device])
    config.folder.predict_report.write_text(json.dumps(facts) + "\n")


def predict(config: TrialConfig, shown: Path, answers: Path, batch: int) -> dict[str, object]:
    """Logits for the rows in the file `shown`, into the file `answers`; returns what there is to say about it."""
    with reported(config, answers.with_name(config.folder.oom_report.name)):
        return _predicted(config, shown, answers, batch)


def _predicted(config: TrialConfig, shown: Path, answers: Path, batch: int) -> dict[str, object]:
    try:
        rows = np.load(shown, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataMissing(f"{shown}: {error}. The stage phase writes it.") from error
    session = open_session(config, training=False)
    import_first(config.program_file)
    compiler.prepare(config.program_file, config.device)
    candidate_begins()
    began, training = time.monotonic(), StepCount()
    model = entry(load_program(config.program_file), "build_model")()
    if not isinstance(model, nn.Module):
        raise ContractBroken(f"build_model() returned {type(model).__name__}, not a torch.nn.Module")
    load_weights(model, config.folder.weights)
    model = model.to(session.device)
    if config.harness == "images":
        model = model.to(memory_format=torch.channels_last)
    passes = _FirstLayerCalls(model, config.harness)
    loaded = time.monotonic()
    logits = forward(model, torch.from_numpy(rows).to(session.device), batch, session.park())
    _check_shape(logits, rows.shape, config.harness)
    if training.off_clock:
        raise InvalidOutput("an optimiser took steps while the model predicted: what predicts is what was handed in")
    answers.parent.mkdir(exist_ok=True)
    np.save(answers, logits.numpy())
    return {
        "rows": len(logits),
        "seconds": round(time.monotonic() - loaded, 3),
        "passes_per_image": round(passes.counted / (len(rows) if config.harness == "images" else rows.size), 3),
        "overhead_s": {"import": round(session.overhead_s["import"], 3), "build": round(loaded - began, 3)},
        "total_seconds": round(seconds_since_process_start(), 3),
        **memory_facts(session.device, config),
    }


def _check_shape(logits: torch.Tensor, shown: tuple[int, ...], harness: Harness) -> None:
    if harness == "images" and (logits.ndim != 2 or len(logits) != shown[0]):
        raise InvalidOutput(f"the model's output has shape {tuple(logits.shape)} for {shown[0]} images")
    if harness == "text" and logits.shape != (*shown, VOCABULARY):
        raise InvalidOutput(
            f"the model's output has shape {tuple(logits.shape)} for {shown[0]} windows of {shown[1]} bytes: it gives "
            f"{VOCABULARY} logits for each place"
        )


class _FirstLayerCalls:
    """Counts images through the first convolution, or bytes through the first embedding: more than one pass an image is
    test-time augmentation."""

    def __init__(self, model: nn.Module, harness: Harness) -> None:
        self.counted = 0
        self._of_text = harness == "text"
        kind = nn.Embedding if self._of_text else nn.Conv2d
        first = next((module for module in model.modules() if isinstance(module, kind)), None)
        if first is not None:
            first.register_forward_pre_hook(self._count)

    def _count(self, _: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self.counted += inputs[0].numel() if self._of_text else len(inputs[0])


if __name__ == "__main__":
    code = run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # everything is on disk; tearing torch down would only take time
