"""Edits out of short training recipes: what has its own optimiser, average, schedule, resolution, stem or compilation.

Where a recipe comes from stands at its edit. As everywhere in the library, a program without the place is left alone.
"""

import ast

from workers.proposers.library.edit import Edit, edit
from workers.proposers.library.network import NETWORKS
from workers.proposers.library.program import DoesNotApply, Program


@edit("muon", "optimiser", "step along orthogonalised momentum in convolutions and matrices (Muon)")
def muon(program: Program) -> None:
    """Newton-Schulz of the momentum, five steps with the coefficients of Keller Jordan's Muon (MIT licence)."""
    program.refuse_if_named("Muon")
    build = program.function("build_optimizer")
    main = program.function("main")
    made = program.statement("optimizer = build_optimizer(", main)
    step = program.statement("optimizer.step()", main)
    rates = program.statement("group['lr'] = learning_rate(clock.progress)", main)
    batches = program.call("clock.batches", main)
    state = next((k.value for k in batches.keywords if k.arg == "state"), None)
    weights = program.statement("weights = [", build)
    if not isinstance(state, ast.Tuple) or not isinstance(weights, ast.Assign) or not isinstance(rates, ast.Assign):
        raise DoesNotApply("the loop or the parameter groups have another form")
    program.require(ast.unparse(weights.value).endswith("if parameter.ndim > 1]"), "the weights are chosen otherwise")
    loop = next((n for n in ast.walk(main) if isinstance(n, ast.For) and rates in n.body), None)
    program.require(loop is not None, "the rate is set elsewhere")
    program.replace(weights.value, "[p for p in model.parameters() if p.ndim > 1 and not is_hidden(model, p)]")
    program.insert_before(build, _MUON)
    program.insert_after(made, "muon = Muon([p for p in model.parameters() if is_hidden(model, p)])\n")
    program.replace(state, f"{program.text(state).rstrip(')').rstrip(', ')}, muon)")
    assert loop is not None
    program.insert_before(
        loop, 'for group in muon.param_groups:\n    group["lr"] = MUON_RATE * learning_rate(clock.progress) / MAX_LR\n'
    )
    program.value("MAX_LR")
    program.insert_after(step, "muon.step()\nmuon.zero_grad(set_to_none=True)\n")
    program.declare("MUON_RATE", "0.05", "log(5e-3, 0.5)", beside="MAX_LR")


_MUON = '''class Muon(torch.optim.Optimizer):
    """Steps along the orthogonalised momentum of each matrix; a convolution is one of filters by inputs."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        super().__init__(parameters, {"lr": MUON_RATE})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                momentum = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
                momentum.mul_(0.9).add_(parameter.grad)
                update = orthogonalised(parameter.grad.add(momentum, alpha=0.9).flatten(1)).view_as(parameter)
                size = max(1.0, parameter.shape[0] / parameter[0].numel()) ** 0.5
                parameter.add_(update, alpha=-group["lr"] * size)


def orthogonalised(matrix: Tensor) -> Tensor:
    """About the nearest matrix with orthogonal rows, by five steps of Newton and Schulz."""
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = wide / (wide.norm() + 1e-7)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def is_hidden(model: nn.Module, parameter: nn.Parameter) -> bool:
    """Whether Muon takes it: a matrix or a convolution over more than one input, between the first and the last."""
    matrices = [one for one in model.parameters() if one.ndim > 1]
    ends = (id(matrices[0]), id(matrices[-1]))
    return parameter.ndim > 1 and parameter.shape[1] > 1 and id(parameter) not in ends


'''


@edit("lookahead", "averaging", "every few steps go back half of the way to a slow copy of the weights (Lookahead)")
def lookahead(program: Program) -> None:
    """arXiv 1907.08610; fast CIFAR recipes use it in place of a running average."""
    program.refuse_if_named("slow", "AveragedModel")
    main = program.function("main")
    made = program.statement("optimizer = build_optimizer(", main)
    step = program.statement("optimizer.step()", main)
    batches = program.call("clock.batches", main)
    program.require("state" in {k.arg for k in batches.keywords}, "the loop keeps no state")
    code = (
        "steps += 1\n"
        "if steps % LOOKAHEAD_STEPS == 0:\n"
        "    with torch.no_grad():\n"
        "        for fast, slow in zip(model.parameters(), anchors, strict=True):\n"
        "            slow.lerp_(fast, 0.5)\n"
        "            fast.copy_(slow)\n"
    )
    program.insert_after(made, "anchors, steps = [p.detach().clone() for p in model.parameters()], 0\n")
    program.insert_after(step, code)
    program.declare("LOOKAHEAD_STEPS", "5", "int(2, 20)", beside="WARM_UP")


def _schedule(name: str, description: str, expression: str, needs: tuple[str, str, str] | None = None) -> Edit:
    @edit(name, "schedule", description)
    def transform(program: Program) -> None:
        rate = program.function("learning_rate")
        program.value("WARM_UP")
        program.value("MAX_LR")
        program.require([a.arg for a in rate.args.args] == ["progress"], "the schedule takes other arguments")
        program.require(
            not {"HOLD_UNTIL", "FINAL_RATE", "DECAY_POWER"} & set(program.constants),
            "the schedule was reshaped already",
        )
        last = program.last_return(rate)
        assert last.value is not None
        program.replace(last.value, expression)
        if needs is not None:
            constant, literal, space = needs
            program.declare(constant, literal, space, beside="WARM_UP")

    return transform


power_decay = _schedule(
    "power_decay",
    "let the learning rate fall as a power of the time that is left",
    "MAX_LR * ((1.0 - progress) / (1.0 - WARM_UP)) ** DECAY_POWER",
    ("DECAY_POWER", "1.5", "linear(0.5, 3.0)"),
)
floor_decay = _schedule(
    "floor_decay",
    "let the learning rate end above zero",
    "MAX_LR * (FINAL_RATE + (1.0 - FINAL_RATE) * (1.0 - progress) / (1.0 - WARM_UP))",
    ("FINAL_RATE", "0.05", "log(0.005, 0.3)"),
)


@edit("growing_images", "augmentation", "begin on half-size images, which train faster, and end on whole ones")
def growing_images(program: Program) -> None:
    """Progressive resizing, as in EfficientNetV2 (arXiv 2104.00298) and short CIFAR and ImageNet recipes."""
    program.refuse_if_named("RESOLUTION_UNTIL", "interpolate")
    function = program.function("loss_of")
    program.require(
        [a.arg for a in function.args.args] == ["model", "images", "labels"], "the loss takes other arguments"
    )
    program.require("STEM_STRIDE" not in program.constants or program.value("STEM_STRIDE") == 1, "the maps are small")
    program.import_("import torch.nn.functional as F")
    code = (
        "if clock.progress < RESOLUTION_UNTIL:\n"
        '    images = F.interpolate(images.float(), scale_factor=0.5, mode="area").to(images.dtype)\n'
    )
    program.insert_before(function.body[0], code)
    program.declare("RESOLUTION_UNTIL", "0.4", "linear(0.1, 0.8)", beside="CROP_PAD")


@edit("patch_stem", "architecture", "a stem of whole patches: 2x2 with stride 2, for faster maps behind it")
def patch_stem(program: Program) -> None:
    init = program.function("__init__", program.class_of(*NETWORKS))
    stems = [n for n in program.calls("convolution", init) if len(n.args) == 4 and "STEM" in ast.unparse(n.args[3])]
    program.require(len(stems) == 1, "the stem is unknown")
    program.require(ast.unparse(stems[0].args[2]) == "3", "the stem is not 3x3")
    program.require(program.value("STEM_STRIDE") == 1, "the stem skips pixels already")
    program.set(STEM_STRIDE=2)


@edit("hard_images", "loss", "learn from the hard images of each batch alone: the share with the largest loss")
def hard_images(program: Program) -> None:
    """Selective backpropagation (arXiv 1910.00762)."""
    program.refuse_if_named("LOSS_SHARE")
    loss = program.function("loss_of")
    last = program.last_return(loss)
    assert last.value is not None
    calls = list(program.calls("F.cross_entropy", last))
    program.require(len(calls) == 1 and last.value is calls[0], "the loss is more than a cross-entropy")
    program.require("reduction" not in {k.arg for k in calls[0].keywords}, "the loss is reduced otherwise")
    text = program.text(calls[0]).rstrip().removesuffix(")")
    program.replace(last.value, "losses.topk(max(1, int(LOSS_SHARE * len(losses)))).values.mean()")
    program.insert_before(last, f'losses = {text}, reduction="none")\n')
    program.declare("LOSS_SHARE", "0.7", "linear(0.3, 1.0)", beside="LABEL_SMOOTHING")


@edit("plain_execution", "batch", "do not compile: a budget that is short loses more by it than steps gain")
def plain_execution(program: Program) -> None:
    program.require(program.value("COMPILE") is True, "it is not compiled")
    program.set(COMPILE=False)


@edit("classifier_rate", "optimiser", "a learning rate of its own for the classifier")
def classifier_rate(program: Program) -> None:
    program.refuse_if_named("HEAD_RATE", "BIAS_RATE")
    build = program.function("build_optimizer")
    groups = program.statement("groups = [", build)
    rate = program.statement("group['lr'] = learning_rate(clock.progress)", program.function("main"))
    weights = program.statement("weights = [", build)
    program.require("self.classifier" in program.source, "the network has no classifier")
    if not isinstance(rate, ast.Assign) or not isinstance(weights, ast.Assign):
        raise DoesNotApply("the parameter groups have another form")
    program.require(ast.unparse(weights.value).endswith("if parameter.ndim > 1]"), "the weights are chosen otherwise")
    program.insert_after(
        groups,
        "head = model.classifier.weight\n"
        'groups[0]["params"] = [weight for weight in weights if weight is not head]\n'
        'groups.append({"params": [head], "weight_decay": WEIGHT_DECAY, "scale": HEAD_RATE})\n',
    )
    program.value("WEIGHT_DECAY")
    program.replace(rate.value, 'learning_rate(clock.progress) * group.get("scale", 1.0)')
    program.declare("HEAD_RATE", "0.5", "log(0.1, 10)", beside="MAX_LR")


@edit("learned_temperature", "head", "scale the logits by a learned temperature")
def learned_temperature(program: Program) -> None:
    program.refuse_if_named("temperature")
    network = program.class_of(*NETWORKS)
    init, forward = program.function("__init__", network), program.function("forward", network)
    last = program.last_return(forward)
    assert last.value is not None
    program.require(ast.unparse(last.value).startswith("self.classifier("), "the logits are made otherwise")
    program.insert_after(init.body[-1], "self.temperature = nn.Parameter(torch.zeros(1))\n")
    program.replace(last.value, f"{program.text(last.value)} * self.temperature.exp()")


RECIPE_EDITS = (
    muon,
    power_decay,
    floor_decay,
    lookahead,
    growing_images,
    patch_stem,
    hard_images,
    classifier_rate,
    learned_temperature,
    plain_execution,
)
