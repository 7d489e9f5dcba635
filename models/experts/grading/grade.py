"""The grader: builds the smaller model of a plan, counts its bytes, and scores it on hidden text.

It runs when every process of the plan's program is dead, beside its own copies of `moe.py` and of the trained model.
What it takes from the program is one JSON file.
"""

import json
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))

import moe
from reading import BadPlan, Plan, Shape, read_plan


def main() -> None:
    terms = json.loads(Path("inputs/terms.json").read_text(encoding="utf-8"))
    whole = moe.load("inputs/model.npz")
    terms["whole_model"] = json.loads(Path("inputs/whole.json").read_text(encoding="utf-8"))["bits"]
    shape = Shape(tuple(len(layer.inputs) for layer in whole.layers), int(terms["places"]))
    try:
        plan = read_plan(json.loads(Path("outputs/plan.json").read_text(encoding="utf-8")), shape)
        answer = grade(whole, plan, terms, np.load("private/windows.npy", allow_pickle=False))
    except (BadPlan, ValueError, RecursionError) as error:
        answer = {"metrics": {}, "valid": False, "why": str(error)[:400]}
    print(json.dumps(answer))


def grade(whole: moe.Model, plan: Plan, terms: dict[str, float], windows: moe.Bytes) -> dict[str, object]:
    """The answer, with the bits of each window in items.json. Raises BadPlan above the limit."""
    smaller = moe.build(whole, [[[moe.Member(*one) for one in new] for new in layer] for layer in plan.experts])
    size = require_size(smaller, int(terms["bytes"]))
    bits, uses = moe.run(smaller, windows)
    Path("items.json").write_text(json.dumps([round(float(one), 7) for one in bits]))
    metrics = {
        "bits_per_byte": float(bits.mean(dtype=np.float64)),
        "loads": moe.loads(uses, plan.resident, int(terms["places"])),
        "model_bytes": size,
        "experts": sum(map(len, plan.experts)),
        "whole_model": terms["whole_model"],
    }
    return {"metrics": metrics, "valid": True, "why": "", "per_item": "items.json"}


def require_size(smaller: moe.Model, limit: int) -> int:
    """Bytes of the tensors that exist, no two of which share memory. Raises BadPlan above the limit."""
    tensors = list(moe.tensors(smaller))
    for number, tensor in enumerate(tensors):
        if tensor.base is not None or any(np.may_share_memory(tensor, other) for other in tensors[:number]):
            raise BadPlan("two tensors of the smaller model share memory, so that its bytes cannot be counted")
    if not all(np.isfinite(tensor).all() for tensor in tensors):
        raise BadPlan("a weight of the smaller model is not finite")
    size = moe.size_bytes(smaller)
    if size > limit:
        raise BadPlan(
            f"the smaller model has {size} bytes in {len(tensors)} tensors that exist; the limit is {limit}: keep or "
            "merge fewer experts"
        )
    return size


if __name__ == "__main__":
    main()
