"""Edits of the training: optimiser, schedule, loss, averaging, batch and the images."""

import ast

from swarm.records import Scalar
from workers.proposers.library.edit import Edit, edit
from workers.proposers.library.network import neighbour
from workers.proposers.library.program import DoesNotApply, Program


@edit("average_tail", "averaging", "hand in a running average of the weights over the end of the training")
def average_tail(program: Program) -> None:
    _average(
        program, "multi_avg_fn=get_ema_multi_avg_fn(AVERAGE_DECAY), ", "AveragedModel, get_ema_multi_avg_fn", "0.5"
    )
    program.declare("AVERAGE_DECAY", "0.99", "log(0.9, 0.9999)", beside="WARM_UP")


@edit("mean_tail", "averaging", "hand in the plain mean of the weights over the last quarter of the training")
def mean_tail(program: Program) -> None:
    _average(program, "", "AveragedModel", "0.75")


def _average(program: Program, options: str, names: str, start: str) -> None:
    program.refuse_if_named("AveragedModel")
    main = program.function("main")
    build = program.statement("optimizer = build_optimizer(", main)
    step = program.statement("optimizer.step()", main)
    batches = program.call("clock.batches", main)
    state = next((k.value for k in batches.keywords if k.arg == "state"), None)
    hand_in = program.call("finish", main)
    if not isinstance(state, ast.Tuple) or ast.unparse(hand_in) != "finish(model)":
        raise DoesNotApply("the loop's state or the hand-in has another form")
    program.import_(f"from torch.optim.swa_utils import {names}")
    program.insert_after(build, f"average = AveragedModel(model, {options}use_buffers=True)\n")
    program.replace(state, f"{program.text(state).rstrip(')').rstrip(', ')}, average)")
    program.insert_after(step, "if clock.progress > AVERAGE_FROM:\n    average.update_parameters(model)\n")
    program.replace(hand_in.args[0], "average.module")
    program.declare("AVERAGE_FROM", start, "linear(0.3, 0.9)", beside="WARM_UP")


def _shape(name: str, description: str, expression: str, code: str = "", needs: str | None = None) -> Edit:
    """An edit that gives the learning rate another way down after the warm-up."""

    @edit(name, "schedule", description)
    def transform(program: Program) -> None:
        rate = program.function("learning_rate")
        program.value("WARM_UP")
        program.value("MAX_LR")
        program.require([a.arg for a in rate.args.args] == ["progress"], "the schedule takes other arguments")
        program.require("HOLD_UNTIL" not in program.constants, "the schedule was reshaped already")
        last = program.last_return(rate)
        new = ast.unparse(ast.parse(expression))
        program.require(last.value is not None and ast.unparse(last.value) != new, "the schedule has this shape")
        if code:
            program.insert_before(last, code)
        assert last.value is not None
        program.replace(last.value, expression)
        if needs is not None:
            program.declare(needs, "0.5", "linear(0.2, 0.9)", beside="WARM_UP")
        if "math." in expression:
            program.import_("import math")

    return transform


_SPENT = "(progress - WARM_UP) / (1.0 - WARM_UP)"
cosine_decay = _shape(
    "cosine_decay",
    "let the learning rate fall along half a cosine",
    f"MAX_LR * 0.5 * (1.0 + math.cos(math.pi * {_SPENT}))",
)
linear_decay = _shape(
    "linear_decay", "let the learning rate fall linearly", "MAX_LR * (1.0 - progress) / (1.0 - WARM_UP)"
)
root_decay = _shape(
    "root_decay",
    "let the learning rate fall fast first: one minus the root of the time",
    f"MAX_LR * (1.0 - math.sqrt({_SPENT}))",
)
hold_then_fall = _shape(
    "hold_then_fall",
    "hold the learning rate, then let it fall linearly to zero",
    "MAX_LR * min(1.0, (1.0 - progress) / (1.0 - HOLD_UNTIL))",
    needs="HOLD_UNTIL",
)


@edit("adamw", "optimiser", "AdamW in place of SGD, with the rate and decay that suit it", inverse="sgd")
def adamw(program: Program) -> None:
    call = program.call("torch.optim.SGD")
    groups = program.text(call.args[0])
    program.require(groups == "groups" and "WEIGHT_DECAY" in program.source, "the parameter groups are unknown")
    program.value("MOMENTUM")
    program.replace(call, f"torch.optim.AdamW({groups}, lr=MAX_LR, betas=(0.9, BETA2), fused=True)")
    program.redeclare("MAX_LR", "MAX_LR = 2e-3  # search: log(2e-4, 3e-2)\n")
    program.redeclare("WEIGHT_DECAY", "WEIGHT_DECAY = 0.05  # search: log(1e-3, 0.3)\n")
    program.redeclare("MOMENTUM", "BETA2 = 0.99  # search: {0.9, 0.95, 0.98, 0.99, 0.999}\n")


@edit("sgd", "optimiser", "Nesterov SGD in place of AdamW, with the rate and decay that suit it", inverse="adamw")
def sgd(program: Program) -> None:
    call = program.call("torch.optim.AdamW")
    program.require(program.text(call.args[0]) == "groups", "the parameter groups are unknown")
    program.value("BETA2")
    program.replace(call, "torch.optim.SGD(groups, lr=MAX_LR, momentum=MOMENTUM, nesterov=True, fused=True)")
    program.redeclare("MAX_LR", "MAX_LR = 0.1  # search: log(1e-2, 3.0)\n")
    program.redeclare("WEIGHT_DECAY", "WEIGHT_DECAY = 5e-4  # search: log(1e-5, 1e-2)\n")
    program.redeclare("BETA2", "MOMENTUM = 0.9  # search: linear(0.8, 0.98)\n")


@edit("clip_gradient", "optimiser", "clip the gradient's norm")
def clip_gradient(program: Program) -> None:
    program.refuse_if_named("clip_grad_norm_")
    step = program.statement("optimizer.step()", program.function("main"))
    program.insert_before(step, "nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)\n")
    program.declare("GRADIENT_NORM", "1.0", "log(0.1, 10)", beside="WEIGHT_DECAY")


@edit("centre_gradient", "optimiser", "take the mean out of each filter's gradient (gradient centralisation)")
def centre_gradient(program: Program) -> None:
    program.require("centre(" not in program.source, "the gradients are centred already")
    main = program.function("main")
    program.insert_before(program.statement("optimizer.step()", main), "centre(model)\n")
    program.insert_before(main, _CENTRE)


_CENTRE = '''def centre(model: nn.Module) -> None:
    """Gradient centralisation (arXiv 2004.01461): each filter's gradient without its mean."""
    for parameter in model.parameters():
        if parameter.ndim == 4 and parameter.grad is not None:
            parameter.grad.sub_(parameter.grad.mean(dim=(1, 2, 3), keepdim=True))


'''


@edit("faster_biases", "optimiser", "a larger learning rate for normalisation and biases")
def faster_biases(program: Program) -> None:
    program.refuse_if_named("BIAS_RATE")
    groups = program.statement("groups = [", program.function("build_optimizer"))
    others = [
        node
        for node in ast.walk(groups)
        if isinstance(node, ast.Dict) and "'params': others" in ast.unparse(node).replace('"', "'")
    ]
    rate = program.statement("group['lr'] = learning_rate(clock.progress)", program.function("main"))
    if len(others) != 1 or not isinstance(rate, ast.Assign):
        raise DoesNotApply("the parameter groups have another form")
    program.replace(others[0], f'{program.text(others[0]).rstrip("}")}, "scale": BIAS_RATE}}')
    program.replace(rate.value, 'learning_rate(clock.progress) * group.get("scale", 1.0)')
    program.declare("BIAS_RATE", "4.0", "log(0.5, 64)", beside="MAX_LR")


@edit("smaller_batch", "batch", "half the batch with a learning rate that suits it", inverse="larger_batch")
def smaller_batch(program: Program) -> None:
    _rescale_batch(program, -1)


@edit("larger_batch", "batch", "twice the batch with a learning rate that suits it", inverse="smaller_batch")
def larger_batch(program: Program) -> None:
    _rescale_batch(program, 1)


def _rescale_batch(program: Program, step: int) -> None:
    """Linear in the batch for SGD (arXiv 1706.02677), with its root for Adam (arXiv 2205.10287)."""
    new, old, rate = neighbour(program, "BATCH_SIZE", step), program.value("BATCH_SIZE"), program.value("MAX_LR")
    power = 0.5 if "Adam" in program.source else 1.0
    scaled = float(f"{_number(rate) * (_number(new) / _number(old)) ** power:.3g}")
    space = program.constants["MAX_LR"].space
    program.require(space is not None and space.contains(scaled), f"the rate {scaled} is outside its space")
    program.set(BATCH_SIZE=new, MAX_LR=scaled)


@edit("smooth_labels", "loss", "trust labels less: smoothing 0.1")
def smooth_labels(program: Program) -> None:
    program.require(program.value("LABEL_SMOOTHING") == 0, "labels are smoothed already")
    program.set(LABEL_SMOOTHING=0.1)


@edit("fading_smoothing", "loss", "smooth labels at first and less towards the end")
def fading_smoothing(program: Program) -> None:
    loss = program.function("loss_of")
    name = [k.value for call in program.calls("F.cross_entropy", loss) for k in call.keywords]
    program.require([ast.unparse(node) for node in name] == ["LABEL_SMOOTHING"], "the loss has another form")
    program.replace(name[0], "LABEL_SMOOTHING * (1.0 - clock.progress)")
    if program.value("LABEL_SMOOTHING") == 0:
        program.set(LABEL_SMOOTHING=0.1)


@edit("small_logits", "loss", "keep the logits' scale small by a penalty on their log-sum-exp (z-loss)")
def small_logits(program: Program) -> None:
    program.refuse_if_named("Z_LOSS")
    last = program.last_return(program.function("loss_of"))
    assert last.value is not None
    program.require("logits" in ast.unparse(last.value), "the loss has another form")
    program.insert_before(last, "normaliser = torch.logsumexp(logits.float(), dim=1)\n")
    program.replace(last.value, f"{program.text(last.value)} + Z_LOSS * normaliser.square().mean()")
    program.declare("Z_LOSS", "1e-3", "log(1e-5, 1e-1)", beside="LABEL_SMOOTHING")


@edit("mixup", "augmentation", "blend pairs of images and their labels (mixup)")
def mixup(program: Program) -> None:
    _mix(program, "mixup")


@edit("cutmix", "augmentation", "paste boxes of other images, with their share of the label (cutmix)")
def cutmix(program: Program) -> None:
    _mix(program, "cutmix")


def _mix(program: Program, kind: str) -> None:
    program.refuse_if_named("mixup", "cutmix")
    loss = program.function("loss_of")
    names = [a.arg for a in loss.args.args]
    program.require(names == ["model", "images", "labels"], "the loss takes other arguments")
    code = f"images, labels = augment.{kind}(images, labels, MIX, CLASSES)\n"
    program.insert_before(loss.body[0], code)
    program.value("CLASSES")
    program.declare("MIX", "0.2", "log(0.05, 2.0)", beside="CUTOUT")


@edit("cutout", "augmentation", "hide a square of 8 pixels (cutout)")
def cutout(program: Program) -> None:
    program.require(program.value("CUTOUT") == 0, "images are cut already")
    program.set(CUTOUT=8)


@edit("alternating_flip", "augmentation", "mirror each image in every second epoch instead of by chance")
def alternating_flip(program: Program) -> None:
    call = program.call("augment.flip")
    program.require(len(call.args) == 1, "the flip has other arguments")
    program.replace(call, f"augment.alternating_flip({program.text(call.args[0])}, clock.indices, clock.epoch)")


@edit("plain_end", "augmentation", "train on plain images at the end, as they will be seen")
def plain_end(program: Program) -> None:
    program.refuse_if_named("PLAIN_END")
    function = program.function("augmentation")
    images = function.args.args[0].arg if function.args.args else ""
    program.require(images, "the augmentation takes no images")
    first = function.body[1] if ast.get_docstring(function) and len(function.body) > 1 else function.body[0]
    program.insert_before(first, f"if clock.progress > 1.0 - PLAIN_END:\n    return {images}\n")
    program.declare("PLAIN_END", "0.15", "linear(0.05, 0.5)", beside="CUTOUT")


TRAINING_EDITS = (
    hold_then_fall,
    cosine_decay,
    linear_decay,
    root_decay,
    faster_biases,
    adamw,
    sgd,
    clip_gradient,
    centre_gradient,
    smaller_batch,
    larger_batch,
    average_tail,
    mean_tail,
    alternating_flip,
    plain_end,
    cutout,
    cutmix,
    mixup,
    smooth_labels,
    fading_smoothing,
    small_logits,
)


def _number(value: Scalar) -> float:
    if isinstance(value, bool | str):
        raise DoesNotApply(f"{value!r} is no number")
    return float(value)
