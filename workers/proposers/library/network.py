"""Edits of the network: blocks, stem, normalisation, activation, initialisation, head."""

import ast

from swarm.program.constants import Choice, Int, same_value
from swarm.records import Scalar
from workers.proposers.library.edit import edit
from workers.proposers.library.program import DoesNotApply, Program

BLOCKS = ("Bottleneck", "InvertedBottleneck")
NETWORKS = ("ResNeXt", "EfficientNet")


@edit("zero_init_residual", "initialisation", "start each residual block as its shortcut: zero its last normalisation")
def zero_init_residual(program: Program) -> None:
    program.refuse_if_named("zeros_", "gain")
    block = program.class_of(*BLOCKS)
    inverted = block.name == "InvertedBottleneck"
    program.require("self.residual" in program.text(block) or not inverted, "blocks do not say if they are residual")
    last = "branch[-1][1]" if inverted else "expand[1]"
    program.require(last.split("[", maxsplit=1)[0] in program.text(block), "the block's last convolution is unknown")
    condition = f"isinstance(module, {block.name})" + (" and module.residual" if inverted else "")
    code = f"for module in model.modules():\n    if {condition}:\n        nn.init.zeros_(module.{last}.weight)\n"
    program.insert_before(_model_returned(program), code)


@edit("rezero", "initialisation", "let each residual branch grow from nothing: a learned gain that starts at zero")
def rezero(program: Program) -> None:
    program.refuse_if_named("gain", "zeros_")
    block = program.class_of(*BLOCKS)
    program.insert_after(program.function("__init__", block).body[-1], "self.gain = nn.Parameter(torch.zeros(1))\n")
    branch = _branch(program, block)
    program.replace(branch, f"self.gain * {program.text(branch)}")


@edit("zero_init_classifier", "initialisation", "start from equal logits: zero the classifier's weights")
def zero_init_classifier(program: Program) -> None:
    program.require("model.classifier.weight" not in program.source, "the classifier is initialised already")
    program.require("self.classifier" in program.source, "the network has no classifier")
    code = "nn.init.zeros_(model.classifier.weight)\n"
    program.insert_before(_model_returned(program), code)


@edit("squeeze_excitation", "architecture", "let each block scale its channels by the whole map (squeeze-excitation)")
def squeeze_excitation(program: Program) -> None:
    program.refuse_if_named("SqueezeExcitation")
    block = program.class_of("Bottleneck")
    expand = program.call("self.expand", program.function("forward", block))
    program.require("outputs" in program.text(program.function("__init__", block)), "the block's width is unknown")
    program.insert_before(block, _SQUEEZE_EXCITATION)
    program.insert_after(program.function("__init__", block).body[-1], "self.squeeze = SqueezeExcitation(outputs)\n")
    program.replace(expand, f"self.squeeze({program.text(expand)})")


_SQUEEZE_EXCITATION = '''class SqueezeExcitation(nn.Module):
    """Scales each channel by what the whole map says about it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(4, channels // 8)
        self.layers = nn.Sequential(
            nn.Linear(channels, squeezed), nn.ReLU(), nn.Linear(squeezed, channels), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.layers(x.mean(dim=(2, 3)))[:, :, None, None]


'''


@edit("fused_blocks", "architecture", "one dense 3x3 convolution in place of 1x1 and depthwise in narrow blocks")
def fused_blocks(program: Program) -> None:
    program.refuse_if_named("FUSED_UP_TO")
    init = program.function("__init__", program.class_of("InvertedBottleneck"))
    expansion = program.statement("if expansion != 1:", init)
    position = init.body.index(expansion)
    depthwise = init.body[position + 1] if position + 1 < len(init.body) else None
    if depthwise is None or "groups=hidden" not in ast.unparse(depthwise):
        raise DoesNotApply("there is no depthwise convolution behind the expansion")
    separate = "".join(
        f"    {line}\n" if line.strip() else "\n"
        for statement in (expansion, depthwise)
        for line in _dedented(program, statement)
    )
    code = (
        "if inputs <= FUSED_UP_TO:\n"
        "    layers += [convolution(inputs, hidden, 3, stride), ACTIVATIONS[ACTIVATION]()]\n"
        f"else:\n{separate}"
    )
    program.replace_lines(expansion, depthwise, code)
    program.declare("FUSED_UP_TO", "24", "int(0, 64)", beside="EXPANSION")


@edit("deep_stem", "architecture", "a second 3x3 convolution in the stem")
def deep_stem(program: Program) -> None:
    stem = _stem(program)
    channels = program.text(stem.args[1])
    program.require(f"convolution({channels}, {channels}, 3)" not in program.source, "the stem is deep already")
    more = f"ACTIVATIONS[ACTIVATION](), convolution({channels}, {channels}, 3)"
    program.replace(stem, f"{program.text(stem)}, {more}")


@edit("wide_stem", "architecture", "see more at once in the stem: 5x5 in place of 3x3")
def wide_stem(program: Program) -> None:
    stem = _stem(program)
    program.require(ast.unparse(stem.args[2]) == "3", "the stem is not 3x3")
    program.replace(stem.args[2], "5")


@edit("pooled_shortcut", "architecture", "average before the shortcut's 1x1 convolution instead of skipping pixels")
def pooled_shortcut(program: Program) -> None:
    program.refuse_if_named("AvgPool2d")
    block = program.class_of("Bottleneck")
    call = program.call("convolution", program.statement("self.shortcut = convolution(", block))
    program.require(ast.unparse(call) == "convolution(inputs, outputs, 1, stride)", "the shortcut is another one")
    pooled = "nn.Sequential(nn.AvgPool2d(stride, ceil_mode=True), convolution(inputs, outputs, 1))"
    program.replace(call, pooled)


@edit("wider_shallower", "architecture", "one block a stage less and the next larger width", inverse="narrower_deeper")
def wider_shallower(program: Program) -> None:
    program.set(BLOCKS=neighbour(program, "BLOCKS", -1), WIDTH=neighbour(program, "WIDTH", 1))


@edit("narrower_deeper", "architecture", "one block a stage more and the next smaller width", inverse="wider_shallower")
def narrower_deeper(program: Program) -> None:
    program.set(BLOCKS=neighbour(program, "BLOCKS", 1), WIDTH=neighbour(program, "WIDTH", -1))


@edit("wider_in_more_groups", "architecture", "the next larger width in twice as many groups, at about equal work")
def wider_in_more_groups(program: Program) -> None:
    program.set(CARDINALITY=neighbour(program, "CARDINALITY", 1), WIDTH=neighbour(program, "WIDTH", 1))


@edit("faster_statistics", "normalisation", "let batch normalisation forget faster, for a short training")
def faster_statistics(program: Program) -> None:
    call = program.call("nn.BatchNorm2d")
    program.require(not call.keywords, "the normalisation has options already")
    program.replace(call, f"nn.BatchNorm2d({program.text(call.args[0])}, momentum=NORM_MOMENTUM)")
    program.declare("NORM_MOMENTUM", "0.3", "log(0.01, 0.6)", beside="ACTIVATION")


@edit("group_normalisation", "normalisation", "group in place of batch normalisation: no statistics to keep")
def group_normalisation(program: Program) -> None:
    call = program.call("nn.BatchNorm2d")
    channels = program.text(call.args[0])
    program.import_("import math")
    program.replace(call, f"nn.GroupNorm(math.gcd({channels}, 8), {channels})")


@edit("mish", "activation", "use the Mish activation")
def mish(program: Program) -> None:
    _use_activation(program, "mish", "nn.Mish")


@edit("leaky_relu", "activation", "use the leaky ReLU: no unit dies")
def leaky_relu(program: Program) -> None:
    _use_activation(program, "leaky_relu", "nn.LeakyReLU")


@edit("generalised_mean", "head", "pool by a generalised mean, between average and maximum")
def generalised_mean(program: Program) -> None:
    program.refuse_if_named("POOL_POWER")
    mean = _pooling(program)
    assert isinstance(mean.func, ast.Attribute)
    maps = program.text(mean.func.value)
    pooled = f"{maps}.clamp(min=1e-6).pow(POOL_POWER).mean(dim=(2, 3)).pow(1 / POOL_POWER)"
    program.replace(mean, pooled)
    program.declare("POOL_POWER", "3.0", "linear(1, 6)", beside="DROPOUT")


@edit("normalised_features", "head", "normalise the pooled features before the classifier")
def normalised_features(program: Program) -> None:
    program.refuse_if_named("layer_norm")
    mean = _pooling(program)
    program.import_("import torch.nn.functional as F")
    forward = program.function("forward", program.class_of(*NETWORKS))
    assignment = program.statement("features = ", forward)
    program.require(mean in ast.walk(assignment), "the features are pooled elsewhere")
    program.insert_after(assignment, "features = F.layer_norm(features, features.shape[1:])\n")


@edit("stochastic_depth", "regularisation", "leave residual branches out at random while training (stochastic depth)")
def stochastic_depth(program: Program) -> None:
    program.refuse_if_named("drop_branch")
    block = program.class_of(*BLOCKS)
    branch = _branch(program, block)
    program.replace(branch, f"drop_branch({program.text(branch)}, self.training)")
    program.insert_before(block, _DROP_BRANCH)
    program.declare("BRANCH_DROP", "0.1", "linear(0.02, 0.5)", beside="DROPOUT")


_DROP_BRANCH = '''def drop_branch(x: Tensor, training: bool) -> Tensor:
    """Without the branch for a random BRANCH_DROP of the images; the others are scaled up to the same mean."""
    if not training:
        return x
    kept = torch.rand(len(x), 1, 1, 1, device=x.device) >= BRANCH_DROP
    return x * kept / (1.0 - BRANCH_DROP)


'''

NETWORK_EDITS = (
    squeeze_excitation,
    fused_blocks,
    wider_shallower,
    narrower_deeper,
    wider_in_more_groups,
    deep_stem,
    pooled_shortcut,
    wide_stem,
    zero_init_residual,
    zero_init_classifier,
    rezero,
    faster_statistics,
    group_normalisation,
    mish,
    leaky_relu,
    generalised_mean,
    normalised_features,
    stochastic_depth,
)


def _model_returned(program: Program) -> ast.Return:
    """The last line of `build_model`, if it is `return model`."""
    last = program.last_return(program.function("build_model"))
    program.require(program.text(last) == "return model", "build_model does not end with `return model`")
    return last


def _branch(program: Program, block: ast.ClassDef) -> ast.expr:
    """The residual branch in the block's forward: the part of its only sum that is not the shortcut."""
    forward = program.function("forward", block)
    sums = [n for n in ast.walk(forward) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Add)]
    program.require(len(sums) == 1, f"the block's forward has {len(sums)} sums")
    sides = [sums[0].left, sums[0].right]
    branches = [side for side in sides if ast.unparse(side) not in ("x", "self.shortcut(x)")]
    program.require(len(branches) == 1, "the block's sum is not a branch and a shortcut")
    return branches[0]


def _stem(program: Program) -> ast.Call:
    init = program.function("__init__", program.class_of(*NETWORKS))
    stems = [n for n in program.calls("convolution", init) if len(n.args) == 4 and "STEM" in ast.unparse(n.args[3])]
    program.require(len(stems) == 1, f"{len(stems)} places for the stem")
    return stems[0]


def _pooling(program: Program) -> ast.Call:
    """`X.mean(dim=(2, 3))` in the network's forward."""
    forward = program.function("forward", program.class_of(*NETWORKS))
    found = [
        node
        for node in ast.walk(forward)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "mean"
        and ast.unparse(node).endswith(".mean(dim=(2, 3))")
    ]
    program.require(len(found) == 1, f"{len(found)} places for the pooling")
    return found[0]


def _use_activation(program: Program, name: str, module: str) -> None:
    """Adds the activation to the table and to the search space, and chooses it."""
    space = program.constants["ACTIVATION"].space if "ACTIVATION" in program.constants else None
    if not isinstance(space, Choice) or name in space.values:
        raise DoesNotApply("the program has no choice of activations, or has this one")
    table = program.statement("ACTIVATIONS = {", program.tree)
    assert isinstance(table, ast.Assign)
    known = program.text(table.value).rstrip("}").rstrip().rstrip(",")
    program.replace(table.value, f'{known}, "{name}": {module}}}')
    choices = ", ".join(f'"{value}"' for value in (*space.values, name))
    program.redeclare("ACTIVATION", f'ACTIVATION = "{name}"  # search: {{{choices}}}\n')


def neighbour(program: Program, name: str, step: int) -> Scalar:
    """The next larger or smaller value of a constant in its search space."""
    value = program.value(name)
    match program.constants[name].space:
        case Int() as space if isinstance(value, int) and space.contains(value + step):
            return value + step
        case Choice(values=listed):
            ordered = sorted((item for item in listed if isinstance(item, int | float)), key=float)
            places = [place for place, item in enumerate(ordered) if same_value(item, value)]
            if places and 0 <= places[0] + step < len(ordered):
                return ordered[places[0] + step]
    raise DoesNotApply(f"{name} has no neighbour of {value} in its space")


def _dedented(program: Program, statement: ast.stmt) -> list[str]:
    """The lines of a statement without its own indentation."""
    first, *rest = program.text(statement).splitlines()
    return [first, *(line[statement.col_offset :] for line in rest)]
