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
from swarm.trial.config import Device, TrialConfig
from swarm.trial.contract import candidate_begins

BATCH: dict[Device, int] = {"cpu": 125, "cuda": 500}
"""On a CPU a larger one is not faster, and has to have more memory cleared for it."""


def run(path: Path | None = None) -> int:
    """Predicts for the trial that `path` (or SWARM_TRIAL) describes, in this process; returns its exit code."""
    return exit_code_of(lambda: _predict(configuration.load(path)))


def _predict(config: TrialConfig) -> None:
    facts = predict(config, config.folder.images, config.folder.logits, BATCH[config.device])
    config.folder.predict_report.write_text(json.dumps(facts) + "\n")


def predict(config: TrialConfig, shown: Path, answers: Path, batch: int) -> dict[str, object]:
    """Logits for the images in the file `shown`, into the file `answers`; returns what there is to say about it."""
    with reported(config, answers.with_name(config.folder.oom_report.name)):
        return _predicted(config, shown, answers, batch)


def _predicted(config: TrialConfig, shown: Path, answers: Path, batch: int) -> dict[str, object]:
    try:
        images = np.load(shown, allow_pickle=False)
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
    model = model.to(session.device).to(memory_format=torch.channels_last)
    passes = _FirstLayerCalls(model)
    loaded = time.monotonic()
    logits = forward(model, torch.from_numpy(images).to(session.device), batch, session.park())
    if logits.ndim != 2 or len(logits) != len(images):
        raise InvalidOutput(f"the model's output has shape {tuple(logits.shape)} for {len(images)} images")
    if training.off_clock:
        raise InvalidOutput("an optimiser took steps while the model predicted: what predicts is what was handed in")
    answers.parent.mkdir(exist_ok=True)
    np.save(answers, logits.numpy())
    return {
        "rows": len(logits),
        "seconds": round(time.monotonic() - loaded, 3),
        "passes_per_image": round(passes.images / len(images), 3),
        "overhead_s": {"import": round(session.overhead_s["import"], 3), "build": round(loaded - began, 3)},
        "total_seconds": round(seconds_since_process_start(), 3),
        **memory_facts(session.device, config),
    }


class _FirstLayerCalls:
    """Counts images through the first convolution: more than one pass an image is test-time augmentation."""

    def __init__(self, model: nn.Module) -> None:
        self.images = 0
        first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
        if first is not None:
            first.register_forward_pre_hook(self._count)

    def _count(self, _: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self.images += len(inputs[0])


if __name__ == "__main__":
    code = run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # everything is on disk; tearing torch down would only take time
