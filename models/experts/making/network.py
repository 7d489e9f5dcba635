"""The mixture of experts as it is trained, in torch. `moe.py` computes the same function from its arrays, in numpy."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BYTES, WINDOW = 256, 64
LAYERS, WIDTH, HEADS = 3, 64, 4
EXPERTS, HIDDEN, CHOSEN = 16, 64, 2
COMMON = 0.7
"""How much of an expert's first weights all experts of a layer share: they begin as relatives, so that two of them have
a mean that means something."""


class Attention(nn.Module):
    """Causal self-attention: each place sees itself and what came before it."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.output = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.inputs(x).unflatten(2, (3, HEADS, WIDTH // HEADS)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True)
        return self.output(y.transpose(1, 2).flatten(2))


class Experts(nn.Module):
    """For each place the CHOSEN experts with the largest router logits, weighed by the softmax over those."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Parameter(torch.randn(EXPERTS, WIDTH) * WIDTH**-0.5)
        self.inputs = nn.Parameter(_related(WIDTH, HIDDEN))
        self.outputs = nn.Parameter(_related(HIDDEN, WIDTH) * (2 * LAYERS) ** -0.5)
        self.imbalance = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(0, 1)
        logits = flat @ self.router.T
        values, chosen = logits.topk(CHOSEN, dim=1)
        order = chosen.flatten().argsort()
        used = torch.bincount(chosen.flatten(), minlength=EXPERTS)
        rows = order // CHOSEN
        parts = zip(flat[rows].split(used.tolist()), self.inputs, self.outputs, strict=True)
        found = torch.cat([(part @ into).relu() @ out for part, into, out in parts])
        found = found * values.softmax(dim=1).flatten()[order, None]
        self.imbalance = EXPERTS * (used / used.sum() * logits.softmax(dim=1).mean(dim=0)).sum()
        return torch.zeros_like(flat).index_add(0, rows, found).view_as(x)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(WIDTH, eps=1e-5)
        self.attention = Attention()
        self.experts_norm = nn.RMSNorm(WIDTH, eps=1e-5)
        self.experts = Experts()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + self.experts(self.experts_norm(x))


class Mixture(nn.Module):
    """Bytes int64 [n, t] in, logits [n, t, 256] of the byte after each out."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = nn.Embedding(BYTES, WIDTH)
        self.places = nn.Embedding(WINDOW, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.RMSNorm(WIDTH, eps=1e-5)
        self.classifier = nn.Linear(WIDTH, BYTES, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.bytes(tokens) + self.places.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.classifier(self.norm(x))

    def imbalance(self) -> Tensor:
        """1 where all experts of each layer are used alike, EXPERTS where one has all."""
        return torch.stack([block.experts.imbalance for block in self.blocks]).mean()


def _related(inputs: int, outputs: int) -> Tensor:
    """float32 [EXPERTS, inputs, outputs]."""
    common, own = torch.randn(1, inputs, outputs), torch.randn(EXPERTS, inputs, outputs)
    return (COMMON**0.5 * common + (1 - COMMON) ** 0.5 * own) * inputs**-0.5
