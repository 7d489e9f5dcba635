"""Hand-written changes of models/resnext that a good researcher would try, for `benchmarks/record_curves.py`.

A change is a list of exact replacements in the program's text, each of which must fit once. They go with the program as
it comes and with each other as far as their texts do not touch; `DoesNotFit` says which text was not there. Whether
one is good is for its training to say: they were written before any of them was trained.
"""

from dataclasses import dataclass

RATE_LINE = '            group["lr"] = learning_rate(clock.progress)\n'
SGD_LINE = "    return torch.optim.SGD(groups, lr=MAX_LR, momentum=MOMENTUM, nesterov=True, fused=True)\n"


class DoesNotFit(Exception):
    """A text that a change replaces is not in the program exactly once."""


@dataclass(frozen=True)
class Change:
    """`swaps` are (old text, new text). `family` is what a proposer would call it."""

    name: str
    family: str
    swaps: tuple[tuple[str, str], ...]

    def apply(self, source: str) -> str:
        """The changed program. Raises DoesNotFit."""
        for old, new in self.swaps:
            if source.count(old) != 1:
                raise DoesNotFit(f"{self.name}: {source.count(old)} times in the program: {old!r}")
            source = source.replace(old, new)
        return source


def constant(name: str, old: str, new: str) -> tuple[str, str]:
    return f"\n{name} = {old}  #", f"\n{name} = {new}  #"


def before(text: str, code: str) -> tuple[str, str]:
    return text, code + text


MUON = '''class Muon(torch.optim.Optimizer):
    """SGD with Nesterov momentum; the steps of 4-D weights are made orthogonal (Newton-Schulz) first."""

    def __init__(self, groups: list[dict[str, object]]) -> None:
        super().__init__(groups, {"lr": MAX_LR, "scale": 1.0})

    @torch.no_grad()
    def step(self, closure: object = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"].mul_(MOMENTUM).add_(parameter.grad)
                step = parameter.grad + MOMENTUM * momentum
                parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
                if parameter.ndim == 4:
                    step = orthogonal(step.flatten(1)).view_as(parameter)
                    parameter.add_(step, alpha=-group["lr"] * MUON_RATE)
                else:
                    parameter.add_(step, alpha=-group["lr"])


def orthogonal(matrix: Tensor) -> Tensor:
    """Quintic Newton-Schulz iteration towards the nearest orthogonal matrix; the scale follows the shape."""
    x = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(3):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    x = x.T if tall else x
    return x * max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5


'''

LOOKAHEAD = '''class Lookahead:
    """Slow weights that follow the fast ones every few steps, and pull them back."""

    def __init__(self, model: nn.Module) -> None:
        self.slow = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    def state_dict(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self.slow.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.slow = {name: tensor.clone() for name, tensor in state.items()}

    @torch.no_grad()
    def update(self, model: nn.Module, share: float) -> None:
        for name, fast in model.state_dict().items():
            if fast.is_floating_point():
                fast.lerp_(self.slow[name].lerp_(fast, 1.0 - share), 1.0)


'''

STRIDE_4 = ("STEM_STRIDE = 2  # search: {1, 2}", "STEM_STRIDE = 4  # search: {1, 2, 4}")

AVERAGING = "from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn\n"

CHANGES = (
    Change(
        "muon",
        "optimiser",
        (
            before("def build_optimizer(", MUON),
            (SGD_LINE, "    return Muon(groups)\n"),
            constant("MAX_LR", "0.2", "0.2"),
            before("WEIGHT_DECAY = ", "MUON_RATE = 0.2  # search: log(0.02, 1.0)\n"),
        ),
    ),
    Change("small_maps", "architecture", (STRIDE_4,)),
    Change(
        "patch_stem",
        "architecture",
        (
            (
                "self.stem = nn.Sequential(convolution(3, WIDTH, 3, STEM_STRIDE), ACTIVATIONS[ACTIVATION]())",
                "patches = nn.Sequential(nn.Conv2d(3, WIDTH, 4, 4, bias=False), nn.BatchNorm2d(WIDTH))\n"
                "        self.stem = nn.Sequential(patches, ACTIVATIONS[ACTIVATION]())",
            ),
        ),
    ),
    Change(
        "wide_small_maps",
        "architecture",
        (STRIDE_4, constant("WIDTH", "16", "32")),
    ),
    Change(
        "attention_to_channels",
        "architecture",
        (
            (
                "return self.activation(self.expand(y) + self.shortcut(x))",
                "y = self.expand(y)\n"
                "        y = y * self.gate(y.mean(dim=(2, 3)))[:, :, None, None]\n"
                "        return self.activation(y + self.shortcut(x))",
            ),
            (
                "        self.shortcut: nn.Module = nn.Identity()\n",
                "        self.gate = nn.Sequential(nn.Linear(outputs, outputs), nn.Sigmoid())\n"
                "        self.shortcut: nn.Module = nn.Identity()\n",
            ),
        ),
    ),
    Change("dense_blocks", "architecture", (constant("CARDINALITY", "4", "1"),)),
    Change(
        "narrow_late_stage",
        "architecture",
        (("width = WIDTH * 2**stage\n", "width = WIDTH * (1, 2, 2)[stage]\n"),),
    ),
    Change(
        "two_poolings",
        "head",
        (
            (
                "features = self.stages(self.stem(images)).mean(dim=(2, 3))",
                "maps = self.stages(self.stem(images))\n"
                "        features = torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)",
            ),
            ("self.classifier = nn.Linear(inputs, CLASSES)", "self.classifier = nn.Linear(2 * inputs, CLASSES)"),
        ),
    ),
    Change(
        "normalised_logits",
        "head",
        (
            (
                "return self.classifier(self.dropout(features))",
                "features = F.normalize(self.dropout(features))\n"
                "        return self.scale * F.linear(features, F.normalize(self.classifier.weight))",
            ),
            (
                "        self.dropout = nn.Dropout(DROPOUT)\n",
                "        self.dropout = nn.Dropout(DROPOUT)\n        self.scale = nn.Parameter(torch.tensor(10.0))\n",
            ),
        ),
    ),
    Change("plain_images", "augmentation", (constant("FLIP", "True", "False"), constant("CROP_PAD", "4", "0"))),
    Change("small_shifts", "augmentation", (constant("CROP_PAD", "4", "1"),)),
    Change(
        "cutmix_first",
        "augmentation",
        (
            before(
                "    with torch.autocast(",
                "    if clock.progress < 0.6:\n        images, labels = augment.cutmix(images, labels, 1.0, CLASSES)\n",
            ),
        ),
    ),
    Change(
        "mixup_fades",
        "augmentation",
        (
            before(
                "    with torch.autocast(",
                "    if clock.progress < 0.8:\n"
                "        images, labels = augment.mixup(images, labels, 0.3 * (1.0 - clock.progress), CLASSES)\n",
            ),
        ),
    ),
    Change(
        "high_rate_held",
        "schedule",
        (
            constant("MAX_LR", "0.2", "0.3"),
            (
                "return MAX_LR * (1.0 - progress) / (1.0 - WARM_UP)",
                "return MAX_LR * min(1.0, (1.0 - progress) / 0.3)",
            ),
        ),
    ),
    Change(
        "late_drop",
        "schedule",
        (
            (
                "return MAX_LR * (1.0 - progress) / (1.0 - WARM_UP)",
                "return MAX_LR if progress < 0.75 else MAX_LR * 4.0 * (1.0 - progress) ** 1.5",
            ),
        ),
    ),
    Change("slow_warm_up", "schedule", (constant("WARM_UP", "0.1", "0.35"), constant("MAX_LR", "0.2", "0.3"))),
    Change(
        "average_late",
        "averaging",
        (
            before(
                "from swarm.harness import", "from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn\n"
            ),
            (
                "    optimizer = build_optimizer(model)\n",
                "    optimizer = build_optimizer(model)\n"
                "    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.98), use_buffers=True)\n",
            ),
            ("state=(model, optimizer))", "state=(model, optimizer, average))"),
            (
                "        optimizer.step()\n",
                "        optimizer.step()\n"
                "        if clock.progress > 0.6:\n            average.update_parameters(model)\n",
            ),
            ("    finish(model)", "    finish(average.module)"),
        ),
    ),
    Change(
        "lookahead",
        "averaging",
        (
            before("def main(", LOOKAHEAD),
            (
                "    optimizer = build_optimizer(model)\n",
                "    optimizer = build_optimizer(model)\n    slow = Lookahead(model)\n",
            ),
            ("state=(model, optimizer))", "state=(model, optimizer, slow))"),
            (
                "        optimizer.step()\n",
                "        optimizer.step()\n"
                "        if clock.step % 5 == 0:\n            slow.update(model, 0.5 * (1.0 - clock.progress))\n",
            ),
        ),
    ),
    Change("small_batch", "batch", (constant("BATCH_SIZE", "64", "32"), constant("MAX_LR", "0.2", "0.12"))),
    Change(
        "growing_batch_of_gradients",
        "batch",
        (
            (
                "        optimizer.zero_grad(set_to_none=True)\n        loss.backward()\n        optimizer.step()\n",
                "        loss.backward()\n"
                "        if clock.progress < 0.7 or clock.step % 2 == 1:\n"
                "            optimizer.step()\n            optimizer.zero_grad(set_to_none=True)\n",
            ),
        ),
    ),
    Change(
        "quick_statistics",
        "normalisation",
        (("nn.BatchNorm2d(outputs),\n", "nn.BatchNorm2d(outputs, momentum=0.3),\n"),),
    ),
    Change(
        "normalised_input",
        "normalisation",
        (
            (
                "features = self.stages(self.stem(images))",
                "features = self.stages(self.stem(F.instance_norm(images)))",
            ),
        ),
    ),
    Change(
        "smooth_activation",
        "activation",
        (
            constant("ACTIVATION", '"relu"', '"silu"'),
            ("    return model\n", "    nn.init.zeros_(model.classifier.weight)\n    return model\n"),
        ),
    ),
    Change(
        "residual_from_zero",
        "initialisation",
        (
            (
                "    return model\n",
                "    for module in model.modules():\n"
                "        if isinstance(module, Bottleneck):\n"
                "            nn.init.constant_(module.expand[1].weight, 0.2)\n"
                "    return model\n",
            ),
        ),
    ),
    Change(
        "adam_fast",
        "optimiser",
        (
            (SGD_LINE, "    return torch.optim.AdamW(groups, lr=MAX_LR, betas=(0.9, 0.98), fused=True)\n"),
            constant("MAX_LR", "0.2", "6e-3"),
            constant("WEIGHT_DECAY", "5e-4", "0.02"),
        ),
    ),
    Change(
        "fast_biases_and_light_decay",
        "optimiser",
        (
            (
                '{"params": others, "weight_decay": 0.0}]',
                '{"params": others, "weight_decay": 0.0, "scale": 6.0}]',
            ),
            (RATE_LINE.strip(), 'group["lr"] = learning_rate(clock.progress) * group.get("scale", 1.0)'),
            constant("WEIGHT_DECAY", "5e-4", "2e-4"),
        ),
    ),
    Change(
        "clipped_high_rate",
        "optimiser",
        (
            constant("MAX_LR", "0.2", "0.6"),
            (
                "        optimizer.step()\n",
                "        nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n        optimizer.step()\n",
            ),
        ),
    ),
    Change("confident", "loss", (constant("LABEL_SMOOTHING", "0.0", "0.02"), constant("WEIGHT_DECAY", "5e-4", "2e-3"))),
)

BY_NAME = {change.name: change for change in CHANGES}
