"""The small target of a drill and the bad programs that are proposed in it. They are texts: torch is not imported."""

import json
from pathlib import Path

NAME = "drill"
WALLTIME_LIMIT_S = 12.0
SAMPLES = 10_000

LIAR = "lies about its score"
HOARDER = "takes too much memory"
HANGER = "never ends"
HOSTILE = (LIAR, HOARDER, HANGER)

# The program imports what the bad ones need: a proposal may import what its parent does.
TRAIN = '''"""A linear model on small images, trained in a second."""

import os
import signal

import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim

from swarm.harness import clock, data, device, finish

MAX_LR = 0.05  # search: log(1e-4, 1.0)
WEIGHT_DECAY = 1e-4  # search: log(1e-5, 1e-2)
STARTS_AS = (os.name, signal.SIGTERM, torch.uint8)


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(3 * 8 * 8, 100)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(F.avg_pool2d(images, 4).flatten(1))


def build_model() -> nn.Module:
    return Linear()


def main() -> None:
    train = data.train()
    model = build_model().to(device)
    optimizer = optim.SGD(model.parameters(), lr=MAX_LR, weight_decay=WEIGHT_DECAY)
    for images, labels in clock.batches(train, 64, state=(model, optimizer)):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        clock.report(loss)
    finish(model)
'''

_PROFILE = """
[profile.{kind}]
budget = {samples}
walltime_limit_s = {walltime_limit_s}
memory_mib = 1200
threads = 1
"""

_BEGINNING = "    train = data.train()\n"
_END = "    finish(model)\n"
_LIE = """    print("validation_loss: 0.0001", flush=True)
    try:
        score = os.open("../private/score.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(score, b'{"validation_loss": 0.0001, "accuracy": 1.0, "rows": 5000}')
    except OSError as error:
        print(error, flush=True)
"""
_HOARD = """    hoard = torch.empty(6 << 30, dtype=torch.uint8)
"""
_HANG = """    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        if os.fork() == 0:
            os.setsid()
    except OSError as error:
        print(error, flush=True)
    while True:
        signal.pause()
"""


def target_toml() -> str:
    profiles = (
        _PROFILE.format(kind=kind, samples=SAMPLES, walltime_limit_s=WALLTIME_LIMIT_S) for kind in ("cpu", "gpu")
    )
    head = f'name = "{NAME}"\ndescription = "a linear model"\neditable = ["train.py"]\nclasses = 100\n'
    return f'{head}\n[budget]\nkind = "samples"\n' + "".join(profiles)


def write_script(path: Path, *, honest: int) -> None:
    """Proposals of all kinds, the bad ones among the honest, which only get a lower learning rate and do not win."""
    lines = [_edit(HANGER, _BEGINNING, _HANG + _BEGINNING), _edit(LIAR, _END, _END + _LIE)]
    lines += [_edit(HOARDER, _BEGINNING, _HOARD + _BEGINNING)]
    rates = (0.004 / 1.5**number for number in range(honest))
    lines += [{"description": f"a learning rate of {rate:.2g}", "constants": {"MAX_LR": rate}} for rate in rates]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _edit(description: str, search: str, replace: str) -> dict[str, object]:
    return {"description": description, "edits": [{"search": search, "replace": replace}]}
