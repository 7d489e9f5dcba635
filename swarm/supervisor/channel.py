"""The supervisor's line to a phase: a pair of sockets, closed inside before any code of a candidate runs.

phase -> supervisor   "up"               it waits, and can be looked at
supervisor -> phase   "counted" or not   go; whether its CPU time is counted from outside
phase -> supervisor   ready              the sandbox it got, and when it entered the phase module
phase -> supervisor   begins             the candidate's code is next (see `swarm.trial.contract.candidate_begins`)
supervisor -> phase   noted              what was used up to here has been read; a phase may wait for it
outer -> supervisor   left               how many processes were left in its namespaces
"""

import fcntl
import json
import os
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass, field

from swarm.sandbox.policy import SandboxReport
from swarm.trial.contract import BEGINS, NOTED

_MESSAGE = 8192
_START_LIMIT_S = 20.0


@dataclass(frozen=True)
class Ready:
    """What the phase reports: the sandbox it got, and when (on the deadlines' clock) it entered the phase module."""

    sandbox: SandboxReport
    at: float


@dataclass
class Heard:
    """What a phase has said so far. `begins`: the candidate's code is next, or runs."""

    ready: Ready | None = None
    begins: bool = False
    left: int | None = None


@dataclass
class Channel:
    """The supervisor's end."""

    socket: socket.socket
    heard: Heard = field(default_factory=Heard)

    @classmethod
    def pair(cls) -> "tuple[Channel, int]":
        """This end, and the descriptor of the other one for a child."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(_START_LIMIT_S)
        return cls(ours), theirs.detach()

    def wait_until_up(self) -> bool:
        """Whether the phase came so far; False when it has ended before."""
        try:
            return self.socket.recv(_MESSAGE) == b"up"
        except OSError:
            return False

    def let_go(self, *, counted: bool) -> None:
        """The phase goes on; from here on `listen` never waits."""
        with suppress(OSError):
            self.socket.send(b"counted" if counted else b"uncounted")
        self.socket.setblocking(False)
        wake_on(self.socket.fileno())

    def listen(self) -> Heard:
        while True:
            try:
                message = self.socket.recv(_MESSAGE)
            except OSError:
                return self.heard
            if not message:
                return self.heard
            self._take(message)

    def _take(self, message: bytes) -> None:
        if message == BEGINS:
            self.heard.begins = True
            return
        values = json.loads(message)
        if "left" in values:
            self.heard.left = int(values["left"])
        elif self.heard.ready is None:
            self.heard.ready = Ready(SandboxReport(**values["sandbox"]), float(values["at"]))

    def say_noted(self) -> None:
        """Nobody may be there any more to hear it."""
        with suppress(OSError):
            self.socket.send(NOTED)

    def close(self) -> None:
        self.socket.close()


def wait_for_go(descriptor: int) -> bool:
    """In the phase's first process: returns when the supervisor lets it go; whether its CPU time is counted."""
    os.write(descriptor, b"up")
    return os.read(descriptor, _MESSAGE) == b"counted"


def say_ready(descriptor: int, ready: Ready) -> None:
    os.write(descriptor, json.dumps(asdict(ready)).encode())


def say_left(descriptor: int, left: int) -> None:
    os.write(descriptor, json.dumps({"left": left}).encode())


def wake_on(descriptor: int) -> None:
    """What arrives on this socket wakes `Tree.wait` (SIGIO)."""
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_ASYNC)
