"""Which experts of a trained mixture stay, which are merged, and which are resident, within a number of bytes.

Left for you to try: another measure of what an expert is worth, other shares of the layers, merging by what experts do
and not by their weights, parts that follow use, experts that are used together kept together, a search: the budget
allows to build some hundred smaller models with `moe.build` and to try them on the public windows with `moe.bits`. What
counts is bits per byte on text that this program never sees, of the model that the grader builds from plan.json. The
guard is `loads`: how often an expert has to be fetched for 1,000 bytes with room for few of them.

inputs/model.npz      the trained mixture; see moe.py, which may be imported
inputs/windows.npy    public text, uint8 [n, 65]
inputs/terms.json     bytes (limit of the smaller model), places (experts that fit into the fast memory)
inputs/*.npy          over the public text, float32 [layers, experts]: uses, gates, norms (of what it adds), worth (mean
                      of gate times norm); together [layers, experts, experts]
inputs/whole.json     bits: of the whole model, on the hidden text
outputs/plan.json     {"layers": [{"experts": [[[expert, part], ...], ...], "resident": [number, ...]}, ...]}
"""

import json
from pathlib import Path

import moe
import numpy as np

WORTH = "uses"  # search: {"uses", "gates", "norms", "worth"}
FIRST = 1.0  # search: log(0.25, 4)
SECOND = 1.0  # search: log(0.25, 4)
MERGED = 0.0  # search: linear(0, 1)
LIKENESS = "weights"  # search: {"weights", "router", "outputs"}
PART_POWER = 0.0  # search: linear(0, 2)
RESIDENT = 0.5  # search: linear(0, 1)

MOST_PART, FREE_PLACES = 1000, 2


def main() -> None:
    model = moe.load("inputs/model.npz")
    terms = json.loads(Path("inputs/terms.json").read_text(encoding="utf-8"))
    uses, worth = np.load("inputs/uses.npy"), np.load(f"inputs/{WORTH}.npy")
    kept = [np.argsort(-worth[layer], kind="stable")[:count] for layer, count in enumerate(counts(model, terms))]
    plans = [merged(model, layer, experts, uses[layer]) for layer, experts in enumerate(kept)]
    resident = most_used(plans, uses, round(RESIDENT * (terms["places"] - FREE_PLACES)))
    layers = [{"experts": new, "resident": held} for new, held in zip(plans, resident, strict=True)]
    Path("outputs/plan.json").write_text(json.dumps({"layers": layers}), encoding="utf-8")


def counts(model: moe.Model, terms: dict[str, int]) -> list[int]:
    """How many experts each layer keeps: as many as the bytes allow, in the shares FIRST : SECOND : 1 : 1 ..."""
    shares = [FIRST, SECOND, *[1.0] * len(model.layers)][: len(model.layers)]
    most = [len(layer.inputs) for layer in model.layers]
    one = model.layers[0].inputs[0].nbytes + model.layers[0].outputs[0].nbytes
    left = (terms["bytes"] - (moe.size_bytes(model) - sum(most) * one)) // one - len(most)
    found = [1] * len(most)
    for _ in range(min(left, sum(most) - len(most))):
        open_ones = [layer for layer, count in enumerate(found) if count < most[layer]]
        found[min(open_ones, key=lambda layer: (found[layer] + 0.5) / shares[layer])] += 1
    return found


def merged(model: moe.Model, layer: int, kept: "np.ndarray", uses: "np.ndarray") -> list[list[list[int]]]:
    """Each kept expert, and of the others the share MERGED, the most used first, with the kept one most like it."""
    new = [[[int(expert), part(uses, int(expert))]] for expert in kept]
    others = [int(expert) for expert in np.argsort(-uses, kind="stable") if expert not in kept]
    like = likeness(model.layers[layer], layer)
    for expert in others[: round(MERGED * len(others))]:
        new[int(np.argmax(like[expert, kept]))].append([expert, part(uses, expert)])
    return new


def part(uses: "np.ndarray", expert: int) -> int:
    """By its use, to PART_POWER: 0 is a plain mean."""
    return int(np.clip(round(100 * float(uses[expert] / uses.mean()) ** PART_POWER), 1, MOST_PART))


def likeness(layer: moe.Layer, number: int) -> "np.ndarray":
    """Cosine of each two experts: of their weights, of their router rows, or of what they add to the same places."""
    if LIKENESS == "outputs":
        return np.load("inputs/together.npy")[number]
    if LIKENESS == "router":
        rows = layer.router
    else:
        rows = np.stack(
            [np.concatenate([a.ravel(), b.ravel()]) for a, b in zip(layer.inputs, layer.outputs, strict=True)]
        )
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return rows @ rows.T


def most_used(plans: list[list[list[list[int]]]], uses: "np.ndarray", count: int) -> list[list[int]]:
    """The new experts whose members were used most, over all layers."""
    found = [
        (float(sum(uses[layer][expert] for expert, _ in members)), layer, number)
        for layer, new in enumerate(plans)
        for number, members in enumerate(new)
    ]
    chosen = sorted(found, reverse=True)[:count]
    return [sorted(number for _, at, number in chosen if at == layer) for layer in range(len(plans))]


if __name__ == "__main__":
    main()
