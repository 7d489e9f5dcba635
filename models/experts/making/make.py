"""Trains the mixture and measures its experts, once per machine: what [prepare] of target.toml runs. Trusted.

    inputs/, test_inputs/       the model, public windows, what its experts did on them, its own score
    private/, test_private/     the hidden windows of the two splits

`SWARM_DATA_DIR` has the text as the harness for text prepares it. One thread and a fixed seed; two machines may differ
in the last bits all the same, so that a study is known by what came out.
"""

import json
import math
import os
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

sys.path.append(str(Path(__file__).resolve().parents[1]))

import moe
from network import WINDOW, Mixture

STEPS, ROWS, MAX_LR, WARM_UP, BALANCE = 300, 32, 6e-3, 0.05, 0.02
PUBLIC = 256  # windows


def main() -> None:
    data = Path(os.environ["SWARM_DATA_DIR"])
    text = np.load(data / "train" / "text.npy", allow_pickle=False)
    hidden = {part: np.load(data / "private" / f"{part}.npy", allow_pickle=False) for part in ("val", "test")}
    arrays = arrays_of(train(text, STEPS))
    make(Path(), arrays, text, {part: windows[:, -WINDOW - 1 :] for part, windows in hidden.items()})


def train(text: moe.Bytes, steps: int) -> Mixture:
    torch.manual_seed(1)
    model = Mixture()
    for module in (model.bytes, model.places):
        nn.init.normal_(module.weight, std=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=MAX_LR, betas=(0.9, 0.99), weight_decay=0.05, fused=True)
    source = torch.from_numpy(text)
    for step in range(steps):
        progress = step / steps
        for group in optimizer.param_groups:
            group["lr"] = MAX_LR * min(progress / WARM_UP + 0.01, (1 - progress) / (1 - WARM_UP), 1.0)
        starts = torch.randint(len(source) - WINDOW - 1, (ROWS,))
        windows = source[starts[:, None] + torch.arange(WINDOW + 1)].long()
        loss = F.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
        (loss + BALANCE * model.imbalance()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 == 0 or step == steps - 1:
            print(
                f"experts: step {step} of {steps}, {float(loss.detach()) / math.log(2):.2f} bits per byte", flush=True
            )
    return model


def arrays_of(model: Mixture) -> dict[str, moe.Floats]:
    """By the names that `moe.load` reads."""
    found = {"bytes": model.bytes, "places": model.places, "norm": model.norm, "classifier": model.classifier}
    tensors = {name: module.weight for name, module in found.items()}
    for number, block in enumerate(model.blocks):
        attention, experts = block.attention, block.experts
        of_layer = {
            "attention_norm": block.attention_norm.weight,
            "attention_inputs": attention.inputs.weight,
            "attention_output": attention.output.weight,
            "experts_norm": block.experts_norm.weight,
            "router": experts.router,
            "inputs": experts.inputs,
            "outputs": experts.outputs,
        }
        tensors.update({f"{number}.{name}": tensor for name, tensor in of_layer.items()})
    return {name: tensor.detach().numpy() for name, tensor in tensors.items()}


def make(folder: Path, arrays: dict[str, moe.Floats], text: moe.Bytes, hidden: dict[str, moe.Bytes]) -> None:
    """Writes all of it below `folder`."""
    public = public_windows(text)
    for part, inputs, private in (("val", "inputs", "private"), ("test", "test_inputs", "test_private")):
        for name in (inputs, private):
            (folder / name).mkdir(parents=True, exist_ok=True)
        np.savez(folder / inputs / "model.npz", **arrays)  # type: ignore[arg-type]
        model = moe.load(folder / inputs / "model.npz")
        np.save(folder / inputs / "windows.npy", public)
        for name, array in statistics(model, public).items():
            np.save(folder / inputs / f"{name}.npy", array)
        np.save(folder / private / "windows.npy", hidden[part])
        whole = float(moe.bits(model, hidden[part]).mean(dtype=np.float64))
        (folder / inputs / "whole.json").write_text(json.dumps({"bits": round(whole, 4)}) + "\n", encoding="utf-8")


def public_windows(text: moe.Bytes) -> moe.Bytes:
    """Windows of the training text, spread evenly over it."""
    starts = np.linspace(0, len(text) - WINDOW - 1, PUBLIC).astype(np.int64)
    return np.ascontiguousarray(text[starts[:, None] + np.arange(WINDOW + 1)])


def statistics(model: moe.Model, windows: moe.Bytes) -> dict[str, NDArray[np.float32]]:
    """Over these windows, of each expert: how often it is used, its gates, the norm of what it adds, and the mean of
    gate times norm where it is used (REAP); and how alike each two are in what they add to the same places."""
    found: dict[str, list[NDArray[np.float32]]] = {}
    for layer, given in zip(model.layers, moe.states(model, windows), strict=True):
        chosen, gates = moe.routed(layer, given)
        adds = np.stack(
            [np.maximum(given @ into, 0) @ out for into, out in zip(layer.inputs, layer.outputs, strict=True)]
        )
        norms = np.linalg.norm(adds, axis=2)
        weight = np.zeros_like(norms)
        np.put_along_axis(weight.T, chosen, gates, axis=1)
        uses = np.maximum((weight > 0).sum(axis=1), 1)
        flat = adds.reshape(len(adds), -1) / np.linalg.norm(adds.reshape(len(adds), -1), axis=1, keepdims=True)
        of_layer = {
            "uses": uses,
            "gates": weight.sum(axis=1),
            "norms": (norms * (weight > 0)).sum(axis=1) / uses,
            "worth": (norms * weight).sum(axis=1) / uses,
            "together": flat @ flat.T,
        }
        for name, values in of_layer.items():
            found.setdefault(name, []).append(values.astype(np.float32))
    return {name: np.stack(values) for name, values in found.items()}


if __name__ == "__main__":
    main()
