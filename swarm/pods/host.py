"""A provider that rents nothing: any machine with an sshd, git and Python 3.11, as `swarm pod up --host user@machine`.

A pod is a folder below ~/swarm-pods there and the processes in it; its name is its id. The machine's host key is one
that the person's own ssh knows. It costs nothing here, so its deadline and idle rule are all that ends it. Secrets are
files of that machine, ~/.config/swarm/secrets/NAME.

Not promised: that two pods at once share its GPU well (each has a ledger of its own user's, so they do), and anything
about a machine without /proc.
"""

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from swarm.clock import Clock, SystemClock
from swarm.errors import PodError
from swarm.pods.provider import (
    NAME_PREFIX,
    Offer,
    Pod,
    PodOrder,
    PodState,
    Refused,
    ReplyLost,
    SecretRef,
    SshAddress,
    Unreachable,
)
from swarm.pods.reach import OutOfReach
from swarm.pods.ssh import Ssh, SshReach
from swarm.records import Line

ROOT = "swarm-pods"
OWN = "own"
_HOST = re.compile(r"(?:(?P<user>[^@\s]+)@)?(?P<host>[^@:\s]+)(?::(?P<port>[0-9]{1,5}))?")
_OURS = re.compile(rf"{NAME_PREFIX}[a-z0-9-]{{1,180}}")  # another folder there is nobody's pod
_RUN = 'exec python3 -c \'import sys; exec(compile(sys.stdin.buffer.read(), "swarm", "exec"))\''
_SYSTEM_CLOCK = SystemClock()


class _There(BaseModel):
    """A pod as the machine tells of it. What it says is data of another machine."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    home: str
    created_at: float
    runs: bool


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    pods: list[_There] = []
    log: str = ""
    error: Line | None = None


def address_of(host: str) -> SshAddress:
    """Of user@machine[:port]. Raises Refused."""
    found = _HOST.fullmatch(host)
    if found is None or found["user"] is None:
        raise Refused(f"--host {host!r}: it is user@machine or user@machine:port")
    return SshAddress(host=found["host"], user=found["user"], port=int(found["port"] or 22))


class HostPods:
    """See `swarm.pods.provider.Pods`. `known_hosts` and `identity` None: the person's own."""

    name = "host"

    def __init__(
        self,
        host: str,
        clock: Clock = _SYSTEM_CLOCK,
        *,
        known_hosts: Path | None = None,
        identity: Path | None = None,
        root: str = ROOT,
    ) -> None:
        self._address = address_of(host)
        self._clock = clock
        self._known_hosts, self._identity, self._root = known_hosts, identity, root
        self._ssh = Ssh(self._address, known_hosts, identity)

    def offers(self, card: str) -> list[Offer]:
        """The machine as it is, whatever the card is called."""
        return [Offer(card=card or OWN, cloud="secure", price_usd_h=0.0, stock="own")]

    def create(self, order: PodOrder) -> Pod:
        plain = {name: text for name, text in order.env.items() if isinstance(text, str)}
        secrets = {name: ref.secret for name, ref in order.env.items() if isinstance(ref, SecretRef)}
        try:
            said = self._ask("create", name=order.name, command=order.command, env=plain, secrets=secrets)
        except Unreachable as problem:
            raise ReplyLost(f"{problem}: the pod may have begun") from problem
        return self._pod(said.pods[0])

    def get(self, pod_id: str) -> Pod | None:
        return next((pod for pod in self.list() if pod.id == pod_id), None)

    def list(self) -> "list[Pod]":
        return [self._pod(there) for there in self._ask("list").pods if _OURS.fullmatch(there.name)]

    def start(self, pod_id: str) -> None:
        self._ask("start", name=pod_id)

    def stop(self, pod_id: str) -> None:
        self._ask("stop", name=pod_id)

    def terminate(self, pod_id: str) -> None:
        """Ends its processes; its folder is moved to ~/swarm-pods/.ended and not deleted: the disk is the person's."""
        self._ask("terminate", name=pod_id)

    def logs(self, pod_id: str) -> Iterator[str]:
        yield from self._ask("logs", name=pod_id).log.splitlines()

    def reach(self, pod: Pod) -> SshReach | None:
        """Its files, by the same key and identity; None while it has no home."""
        return None if pod.home is None else SshReach(self._address, pod.home, self._known_hosts, self._identity)

    def _pod(self, there: _There) -> Pod:
        return Pod(
            id=there.name,
            name=there.name,
            state=PodState.RUNNING if there.runs else PodState.STOPPED,
            card=OWN,
            price_usd_h=0.0,
            created_at=there.created_at,
            ssh=self._address,
            home=there.home,
        )

    def _ask(self, what: str, **more: object) -> _Said:
        """Raises Refused for what the machine will not do, Unreachable where it does not answer."""
        asked = json.dumps({"what": what, "root": self._root, **more})
        script = files("swarm.pods").joinpath("on_host.py").read_text(encoding="utf-8")
        try:
            said = self._ssh.call(_RUN, stdin=f"{script}\nmain(json.loads({asked!r}))\n".encode())
            read = _Said.model_validate_json(said)
        except OutOfReach as problem:
            raise Unreachable(str(problem)) from problem
        except ValidationError as problem:
            raise Refused(f"{self._address.host} answered with something else: {problem.errors()[0]['msg']}") from None
        except PodError as problem:
            raise Refused(str(problem)) from problem
        if read.error is not None:
            raise Refused(f"{self._address.host}: {read.error}")
        return read
