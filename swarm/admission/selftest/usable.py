"""Does the card work, outside of the sandbox and inside? One allocation and one kernel each, before a study is opened.

A card that is there and does not work is an error with its reason. It is never answered with the CPU, on which a night
would be a hundred times shorter, unless a person says `--device cpu`.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from swarm.admission.lease import child_env
from swarm.admission.selftest import children
from swarm.admission.selftest.limits import confined
from swarm.gpu.nvml import NvmlProbe
from swarm.gpu.unusable import TorchFacts, Unusable, why_unusable
from swarm.sandbox.policy import Mode, gpu_devices
from swarm.trial.folder import TrialFolder

_SHARE = 0.9  # of the card, as a cap


@dataclass(frozen=True, slots=True)
class Works:
    """What was tried, and that it worked. `level`: of the sandbox in which it did."""

    name: str
    driver: str
    torch: str
    level: str

    def __str__(self) -> str:
        return (
            f"{self.name}, driver {self.driver}, torch {self.torch}: one allocation and one kernel worked outside of "
            f"the sandbox and inside it ({self.level})"
        )


def require_usable(
    probe: NvmlProbe, sandbox: Mode = "auto", *, only: Sequence[str] = (), nodes: Sequence[str] | None = None
) -> Works:
    """Tries the cards with the UUIDs in `only`, or every one that the probe shows. Raises Unusable, with what stands in
    the way and what to do about it.

    Takes some seconds, most of which torch needs to be imported, twice.
    """
    driver = probe.driver_version()
    cards = [card for card in probe.read() if not only or card.uuid in only]
    if not cards:
        raise Unusable(
            f"none of the study's cards is here: {', '.join(only) or 'none was found'}.",
            "`swarm gpu status` shows the cards; --gpus names others.",
        )
    for node in gpu_devices() if nodes is None else nodes:
        if _is_closed(node):
            who = f"user {os.geteuid()}"
            raise Unusable(
                f"{who} may not open {node}, and CUDA has to.",
                f"Add it to the group that owns {node}, or set NVreg_DeviceFileMode=0666 for the driver's module.",
            )
    for card in cards:
        if mode := probe.compute_mode(card.uuid):
            raise Unusable(
                f"{card.name} ({card.uuid}) is in a compute mode that is {mode}, and trials of a study share it.",
                "Set the default mode (`nvidia-smi -c 0`).",
            )
    uuids = ",".join(card.uuid for card in cards)
    outside = _outside(uuids)
    if (problem := why_unusable(outside, driver)) is not None:
        raise problem
    inside, level = _inside(uuids, sandbox)
    if inside.error:
        said = inside.error.strip().splitlines()[0][:300]
        raise Unusable(
            f"{cards[0].name} works, and not in the sandbox of a trial ({level}): {said}.",
            "`swarm gpu selftest` has the details; --sandbox none, for debugging, runs without it.",
        )
    return Works(cards[0].name, driver, outside.torch, level)


def _outside(uuids: str) -> TorchFacts:
    whole = {**os.environ, **_environment(uuids)}
    command = [sys.executable, str(children.CHILD), "compute"]
    try:
        done = subprocess.run(command, env=whole, capture_output=True, text=True, timeout=children.START_S, check=False)
    except subprocess.TimeoutExpired:
        return TorchFacts("?", "?", f"nothing was said for {children.START_S:g} s: CUDA hangs while it starts")
    return _facts(done.stdout, done.stderr or f"it ended with code {done.returncode}")


def _inside(uuids: str, sandbox: Mode) -> tuple[TorchFacts, str]:
    with tempfile.TemporaryDirectory(prefix="swarm-selftest-") as name:
        folder = Path(name).resolve()
        outcome = confined(folder, _environment(uuids), sandbox)
        log = TrialFolder(folder).log_text("selftest")
    return _facts(log, outcome.phases[0].detail or "it said nothing"), outcome.sandbox.level


def _environment(uuids: str) -> Mapping[str, str]:
    """As a trial has it, options of the allocator included: a torch that does not know them ends there."""
    return child_env(uuids, _SHARE)


def _facts(output: str, otherwise: str) -> TorchFacts:
    """The last JSON line of the child; `otherwise` is the error where there is none."""
    for line in reversed(output.splitlines()):
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and "torch" in said:
            built_for = said.get("built_for")
            return TorchFacts(str(said["torch"]), None if built_for is None else str(built_for), str(said["error"]))
    last = (otherwise.strip().splitlines() or ["?"])[-1]
    return TorchFacts("?", "?", f"torch does not start: {last}")


def _is_closed(node: str) -> bool:
    path = Path(node)
    return path.name.startswith("nvidia") and path.is_char_device() and not os.access(node, os.R_OK | os.W_OK)
