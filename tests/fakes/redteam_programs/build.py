"""How a hostile program is made: an honest one with code put in, and what such code often needs.

They are written as an attacker would who has got past the gate: with any import, and without shame. What an attack
prints is part of it: `it worked` must never stand in the log of a confined trial.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from fakes.tiny_study import TRAIN

from swarm.trial.asked import Harness

IT_WORKED = "it worked"
MARK = "swarm-redteam-mark"  # in the name or the content of all that tries to outlive its trial

# A network that is far from done when its seconds are over: a second more is a better score.
SLOW = (
    TRAIN.replace("MAX_LR = 0.05", "MAX_LR = 0.02")
    .replace(
        "        self.classifier = nn.Linear(3 * 8 * 8, 100)\n",
        "        self.features = nn.Sequential(\n"
        "            nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(), nn.AvgPool2d(2)\n"
        "        )\n"
        "        self.classifier = nn.Linear(1024, 100)\n",
    )
    .replace("self.classifier(F.avg_pool2d(images, 4).flatten(1))", "self.classifier(self.features(images).flatten(1))")
)

PLACES = {  # before which line of an honest program the code goes
    "top": "MAX_LR = 0.0",
    "init": "        self.classifier = ",
    "method": "    def forward(self",
    "forward": "        return self.classifier",
    "build": "    return Linear()\n",
    "main": "    train = data.train()\n",
    "step": "        loss = F.cross_entropy",
    "end": "    finish(model)\n",
}


def hostile(base: str = TRAIN, *, after: str = "", **code: str) -> str:
    """An honest program with code put in: at the `top` of the file, at the start of `main`, before each `step`, at the
    `end` (before finish(model)) and `after` it, at the start of `build`_model, of `forward` and of the model's `init`,
    and as a `method` of the model."""
    program = base
    for place in sorted(code, key=lambda place: -base.index(PLACES[place])):
        line = PLACES[place]
        at = base.index(line)
        indent = " " * (len(line) - len(line.lstrip()))
        program = program[:at] + indented(code[place], indent) + ("\n" * 2 if place == "top" else "") + program[at:]
    return program + indented(after, "    ")


def indented(code: str, indent: str) -> str:
    return "".join(f"{indent}{line}\n" if line else "\n" for line in code.strip("\n").splitlines())


TRY = """
import os

def attempt(action):
    try:
        action()
        print("it worked", flush=True)
    except OSError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
"""

# `system(number, ...)`: a system call by its number, as an attacker without a wrapper makes it. Numbers of x86_64.
SYSTEM = (
    TRY
    + """
import ctypes
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = LIBC.shmat.restype = LIBC.mmap.restype = ctypes.c_long

def system(number, *arguments):
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    answer = LIBC.syscall(ctypes.c_long(number), *words)
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer
"""
)

# `work(model, seconds)`: trains the model in this very process for so many seconds of CPU time, off every clock.
WORK = """
import os, threading, time
import torch

def work(model, seconds, train=None, clock_of=time.process_time):
    from swarm.harness.augment import normalise
    train = train or data.train()
    with torch.inference_mode(False), torch.enable_grad():
        optimizer = optim.SGD(model.parameters(), lr=MAX_LR)
        model.train()
        until = clock_of() + seconds
        while clock_of() < until:
            rows = torch.randint(len(train), (64,))
            optimizer.zero_grad()
            loss = F.cross_entropy(model(normalise(train.images[rows])), train.labels[rows])
            loss.backward()
            optimizer.step()

def in_predict():
    import sys
    if "predict" in sys.argv[0] or "repeat" in sys.argv[0]:
        return True
    return os.path.exists(os.path.dirname(os.environ["SWARM_TRIAL"]) + "/predict_in/images.npy")
"""


class Kind(StrEnum):
    SECRETS = "secrets"  # what can be derived from what a candidate may read
    CLOCK = "clock"  # work that nobody counts
    COMPANY = "company"  # an answer that depends on the other images
    AHEAD = "ahead"  # a language model that sees what it has to predict
    CROSSING = "crossing"  # state that outlives a trial or crosses into another
    POWER = "power"  # power over foreign processes
    MEASURES = "measures"  # a measurement that the candidate can write
    NIGHT = "night"  # one bad thing that ends the night
    TWIN = "twin"  # honest, and by accident like one of the others


Clock = Literal["images", "seconds"]


@dataclass(frozen=True)
class Program:
    """One candidate.

    `clock`: what its budget counts. `changes_training`: its own honest part is another than the baseline's, so that its
    score is no equal of the honest one. `alone`: it takes whole machines, and nothing else runs beside it.
    `reads_after`: the program that ran before it and left it something; `runs_beside`: that still runs beside it.
    `loses`: for an honest twin, words of the sentence that it may fail with; empty when it must have a score.
    `must_fail`: it has no score; `named`: with these words for why. Unless it `may_have_it_all`, what it takes again
    and again is refused in the end.
    """

    name: str
    kind: Kind
    source: str
    clock: Clock = "images"
    rungs: tuple[float, ...] = ()
    walltime_s: float = 25.0
    changes_training: bool = False
    alone: bool = False
    threads: int = 1
    reads_after: str | None = None
    runs_beside: str | None = None
    loses: tuple[str, ...] = ()
    must_fail: bool = False
    named: str = ""
    harness: Harness = "images"
    may_have_it_all: bool = True

    @property
    def slow(self) -> bool:
        """Whether its honest part is the network that is far from done."""
        return "self.features" in self.source

    @property
    def honest(self) -> bool:
        return self.kind is Kind.TWIN
