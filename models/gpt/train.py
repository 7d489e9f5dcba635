"""A small GPT over bytes, trained with AdamW for a fixed budget.

Left for you to try: width against depth, rotary or relative positions, a gated or squared activation, tied embeddings,
another optimiser for the matrices, shorter windows at first, the shape of the schedule, averaging of weights, dropout,
a convolution over the last bytes, the scale of initial weights. What counts is bits per byte on text that this program
never sees: a prediction may depend on the bytes up to its place and on nothing after it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swarm.harness import clock, compiled, data, device, finish

# The network
LAYERS = 6  # search: int(1, 12)
WIDTH = 384  # search: {48, 64, 96, 128, 192, 256, 384, 512}
HEADS = 6  # search: {1, 2, 4, 6, 8}
EXPANSION = 4  # search: {2, 3, 4}
ACTIVATION = "gelu"  # search: {"relu", "gelu", "silu"}
DROPOUT = 0.1  # search: linear(0, 0.4)

# The optimiser
BATCH_SIZE = 64  # search: {4, 8, 16, 32, 64, 128, 256}
MAX_LR = 1e-3  # search: log(1e-4, 2e-2)
BETA2 = 0.99  # search: linear(0.9, 0.999)
WEIGHT_DECAY = 0.1  # search: log(1e-3, 1.0)
WARM_UP = 0.05  # search: linear(0, 0.4)
CLIP = 1.0  # search: log(0.1, 10)

COMPILE = True  # on a GPU; what cannot be compiled trains as it is
BYTES = 256
LONGEST = 256  # the longest window that is asked about
ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}


class Attention(nn.Module):
    """Causal self-attention: each place sees itself and what came before it."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = HEADS if WIDTH % HEADS == 0 else 1
        self.inputs = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.output = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.inputs(x).unflatten(2, (3, self.heads, WIDTH // self.heads)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True)
        return self.output(y.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and a network for each place, each on a normalised copy of the residual stream."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(WIDTH)
        self.attention = Attention()
        self.network_norm = nn.LayerNorm(WIDTH)
        self.network = nn.Sequential(
            nn.Linear(WIDTH, EXPANSION * WIDTH), ACTIVATIONS[ACTIVATION](), nn.Linear(EXPANSION * WIDTH, WIDTH)
        )
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x)))
        return x + self.dropout(self.network(self.network_norm(x)))


class GPT(nn.Module):
    """Bytes int64 [n, t] in, logits [n, t, 256] of the byte after each out."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = nn.Embedding(BYTES, WIDTH)
        self.places = nn.Embedding(LONGEST, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(WIDTH)
        self.classifier = nn.Linear(WIDTH, BYTES, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.blocks(self.bytes(tokens) + self.places(places))
        return self.classifier(self.norm(x))


def build_model() -> nn.Module:
    model = GPT()
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
    return model


def build_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """Weight decay on weights only: normalisation and biases are left alone."""
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [{"params": weights, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=MAX_LR, betas=(0.9, BETA2), fused=True)


def learning_rate(progress: float) -> float:
    """Linear up to MAX_LR during WARM_UP, then linear to zero."""
    if progress < WARM_UP:
        return MAX_LR * progress / WARM_UP
    return MAX_LR * (1.0 - progress) / (1.0 - WARM_UP)


def loss_of(model: nn.Module, tokens: Tensor, following: Tensor) -> Tensor:
    """Mean cross-entropy in nats of the byte after each place."""
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        logits = model(tokens)
    return F.cross_entropy(logits.float().flatten(0, 1), following.flatten())


def main() -> None:
    text = data.train()
    model = build_model().to(device)
    optimizer = build_optimizer(model)
    network = compiled(model) if COMPILE else model
    for tokens, following in clock.batches(text, BATCH_SIZE, state=(model, optimizer)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(clock.progress)
        loss = loss_of(network, tokens, following)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        clock.report(loss)
    finish(model)


if __name__ == "__main__":
    main()
