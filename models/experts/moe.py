"""The mixture of experts in numpy: the model as it was trained, the smaller one of a plan, and what they cost.

The grader computes with its own copy of this file, and a plan's program may do so too:

    model = load("inputs/model.npz")
    smaller = build(model, [[[0], [3, 5]], [[1]], [[2]]])     # of each layer: the experts of each new one
    bits(smaller, windows), size_bytes(smaller)

A merged expert is the mean of its members' weights, each as often as its part says. The router rows of all members stay
and lead to it; those of experts that no new one is made of are cut, so that what is left shares their places. Nothing
is masked: what a plan leaves out is in no tensor.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Uses = NDArray[np.uint8]

HEADS, CHOSEN, EPSILON = 4, 2, 1e-5
_WINDOWS_AT_ONCE = 64
_OF_LAYER = ("attention_norm", "attention_inputs", "attention_output", "experts_norm", "router", "inputs", "outputs")


@dataclass(frozen=True)
class Layer:
    """`router` [rows, width] leads to the expert `serves` [rows]; `inputs` and `outputs` have one array an expert,
    [width, hidden] and [hidden, width]."""

    attention_norm: Floats
    attention_inputs: Floats
    attention_output: Floats
    experts_norm: Floats
    router: Floats
    serves: Bytes
    inputs: tuple[Floats, ...]
    outputs: tuple[Floats, ...]


@dataclass(frozen=True)
class Model:
    """`bytes` and `classifier` [256, width], `places` [window, width]."""

    bytes: Floats
    places: Floats
    layers: tuple[Layer, ...]
    norm: Floats
    classifier: Floats

    @property
    def window(self) -> int:
        return len(self.places)


@dataclass(frozen=True)
class Member:
    """An expert of the trained model that goes into a new one, `part` times beside the parts of the others."""

    expert: int
    part: int = 1


def load(path: "str | PathLike[str]") -> Model:
    """The model as it was trained."""
    with np.load(path, allow_pickle=False) as arrays:
        count = sum(name.endswith(".router") for name in arrays.files)
        layers = tuple(_layer({name: arrays[f"{number}.{name}"] for name in _OF_LAYER}) for number in range(count))
        whole = (arrays[name] for name in ("bytes", "places", "norm", "classifier"))
        embedding, places, norm, classifier = whole
    return Model(embedding, places, layers, norm, classifier)


def build(model: Model, plan: Sequence[Sequence[Sequence[int | Member]]]) -> Model:
    """The smaller model: of each layer the members of each new expert. Every tensor of it is a new array of its own."""
    layers = tuple(
        _smaller(layer, [[one if isinstance(one, Member) else Member(one) for one in members] for members in experts])
        for layer, experts in zip(model.layers, plan, strict=True)
    )
    return Model(model.bytes.copy(), model.places.copy(), layers, model.norm.copy(), model.classifier.copy())


def size_bytes(model: Model) -> int:
    """Bytes of the tensors that exist, each counted once."""
    return sum({id(tensor): tensor.nbytes for tensor in tensors(model)}.values())


def tensors(model: Model) -> Iterator[NDArray[np.generic]]:
    yield from (model.bytes, model.places, model.norm, model.classifier)
    for layer in model.layers:
        yield from (layer.attention_norm, layer.attention_inputs, layer.attention_output, layer.experts_norm)
        yield from (layer.router, layer.serves, *layer.inputs, *layer.outputs)


def bits(model: Model, windows: Bytes) -> Floats:
    """Bits per byte of each window: uint8 [n, window + 1], of which the last window bytes are predicted."""
    return run(model, windows)[0]


def run(model: Model, windows: Bytes) -> tuple[Floats, Uses]:
    """Bits per byte of each window, and which experts each byte used: uint8 [n, window, layers, CHOSEN]."""
    parts = [_run(model, windows[at : at + _WINDOWS_AT_ONCE]) for at in range(0, len(windows), _WINDOWS_AT_ONCE)]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def states(model: Model, windows: Bytes) -> list[Floats]:
    """What the experts of each layer are given: float32 [n * window, width]."""
    seen: list[Floats] = []
    _run(model, windows, seen)
    return seen


def routed(layer: Layer, given: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Of each place the CHOSEN rows of the router with the largest logits, and the softmax over those; fewer where the
    router has fewer."""
    logits = given @ layer.router.T
    chosen = np.argsort(-logits, axis=1, kind="stable")[:, :CHOSEN]
    gates: Floats = np.exp(np.take_along_axis(logits, chosen, axis=1) - logits.max(axis=1, keepdims=True))
    return chosen, gates / gates.sum(axis=1, keepdims=True)


def loads(uses: Uses, resident: Sequence[Sequence[int]], places: int) -> float:
    """How often an expert has to be fetched for each 1,000 bytes, with room for `places` experts.

    The resident ones of each layer never leave. The others share what room is left, and the one that was not used for
    the longest time makes way. Bytes come one after the other, as when text is written.
    """
    pinned = {(layer, expert) for layer, experts in enumerate(resident) for expert in experts}
    room, held, fetched = places - len(pinned), dict[tuple[int, int], None](), 0
    for byte in uses.reshape(-1, *uses.shape[2:]).tolist():
        for layer, chosen in enumerate(byte):
            for expert in dict.fromkeys(chosen):
                if (key := (layer, expert)) in pinned:
                    continue
                if key in held:
                    del held[key]
                else:
                    fetched += 1
                    if len(held) == room:
                        del held[next(iter(held))]
                held[key] = None
    return 1000.0 * fetched / (uses.shape[0] * uses.shape[1])


def _layer(arrays: dict[str, Floats]) -> Layer:
    serves = np.arange(len(arrays["router"]), dtype=np.uint8)
    inputs, outputs = tuple(arrays.pop("inputs")), tuple(arrays.pop("outputs"))
    return Layer(**arrays, serves=serves, inputs=inputs, outputs=outputs)


def _smaller(layer: Layer, experts: Sequence[Sequence[Member]]) -> Layer:
    rows = [member.expert for members in experts for member in members]
    serves = [number for number, members in enumerate(experts) for _ in members]
    return Layer(
        layer.attention_norm.copy(),
        layer.attention_inputs.copy(),
        layer.attention_output.copy(),
        layer.experts_norm.copy(),
        layer.router[rows],
        np.array(serves, np.uint8),
        tuple(_mean(layer.inputs, members) for members in experts),
        tuple(_mean(layer.outputs, members) for members in experts),
    )


def _mean(weights: Sequence[Floats], members: Sequence[Member]) -> Floats:
    whole = sum(member.part for member in members)
    mean = np.zeros_like(weights[0])
    for member in members:
        mean += np.float32(member.part / whole) * weights[member.expert]
    return mean


def _run(model: Model, windows: Bytes, seen: list[Floats] | None = None) -> tuple[Floats, Uses]:
    tokens, following = windows[:, :-1], windows[:, 1:]
    x = model.bytes[tokens] + model.places[: tokens.shape[1]]
    uses = np.empty((*tokens.shape, len(model.layers), CHOSEN), np.uint8)
    for number, layer in enumerate(model.layers):
        x = x + _attention(layer, _normed(x, layer.attention_norm))
        given = _normed(x, layer.experts_norm)
        if seen is not None:
            seen.append(given.reshape(-1, given.shape[2]))
        found, uses[:, :, number] = _experts(layer, given)
        x = x + found
    logits = _normed(x, model.norm) @ model.classifier.T
    logits -= logits.max(axis=2, keepdims=True)
    wanted = np.take_along_axis(logits, following[:, :, None].astype(np.int64), axis=2)[:, :, 0]
    nats = np.log(np.exp(logits).sum(axis=2)) - wanted
    return (nats.mean(axis=1) / np.log(2)).astype(np.float32), uses


def _normed(x: Floats, weight: Floats) -> Floats:
    scale: Floats = 1 / np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + np.float32(EPSILON))
    return x * scale * weight


def _attention(layer: Layer, x: Floats) -> Floats:
    rows, length, width = x.shape
    parts = (x @ layer.attention_inputs.T).reshape(rows, length, 3, HEADS, width // HEADS).transpose(2, 0, 3, 1, 4)
    asked, keys, values = parts
    scores = asked @ keys.swapaxes(2, 3) * np.float32((width // HEADS) ** -0.5)
    scores[..., np.triu(np.ones((length, length), np.bool_), 1)] = -np.inf
    scores = np.exp(scores - scores.max(axis=3, keepdims=True))
    found = (scores / scores.sum(axis=3, keepdims=True)) @ values
    mixed: Floats = found.transpose(0, 2, 1, 3).reshape(rows, length, width) @ layer.attention_output.T
    return mixed


def _experts(layer: Layer, x: Floats) -> tuple[Floats, Uses]:
    """What the experts add, and which ones each byte used; where there is one row it counts twice."""
    flat = x.reshape(-1, x.shape[2])
    chosen, gates = routed(layer, flat)
    uses, found = layer.serves[chosen], np.zeros_like(flat)
    for number, (into, out) in enumerate(zip(layer.inputs, layer.outputs, strict=True)):
        weights = (gates * (uses == number)).sum(axis=1)
        rows = np.flatnonzero(weights)
        found[rows] += weights[rows, None] * (np.maximum(flat[rows] @ into, 0) @ out)
    if uses.shape[1] < CHOSEN:
        uses = np.repeat(uses, CHOSEN, axis=1)
    return found.reshape(x.shape), uses.reshape(*x.shape[:2], CHOSEN)
