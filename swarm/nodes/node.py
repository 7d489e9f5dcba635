"""One node at work: its place on disk, its data, its ledger, its warm process, and the agent on top.

    NODES/NAME/lock            one agent a name; the next one on the machine is NAME-2
               held.json       what it holds
               trials/STUDY/   its trials

The name is the machine's, so that an agent that is started again finds what the one before it has left.
"""

import contextlib
import hashlib
import os
import secrets
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from swarm.admission import AdmissionController, default_root
from swarm.admission.selftest.usable import require_usable
from swarm.clock import Clock
from swarm.errors import NodeError, TrialError
from swarm.execution.local import LocalExecutor
from swarm.gpu import DeviceReading, GpuProbe, NvmlProbe, detect_probe
from swarm.gpu.cards import ALL
from swarm.gpu.device_class import device_class
from swarm.nodes.agent import POLL_S, Agent
from swarm.nodes.host import Address
from swarm.nodes.values import Card, NodeFacts, Terms
from swarm.orchestrator.cards import cards_for
from swarm.orchestrator.data import OWN, data_sha256, prepare_data, prepared_as
from swarm.supervisor import Zygote, kill_leftovers
from swarm.supervisor.proc import boot_id
from swarm.trial.contract import CACHE_VARIABLE, PRELOAD, code_root, harness_sha256
from swarm.version import VERSION

PATIENCE_S = 1800.0  # with a driver that does not answer
NAMES_TRIED = 64
NAME_VARIABLE = "SWARM_NODE_NAME"  # what the nodes of this machine are called, where not by its own name


@dataclass(frozen=True)
class Place:
    """A node's folder, held for as long as its agent lives."""

    name: str
    folder: Path

    @property
    def mark(self) -> str:
        """Tells this folder, since this start of the machine, from one of the same name elsewhere."""
        made = self.folder / "mark"
        with contextlib.suppress(FileExistsError), made.open("x", encoding="utf-8") as file:
            file.write(secrets.token_hex(8))
        return hashlib.sha256(boot_id().encode() + made.read_bytes()).hexdigest()[:32]


def nodes_folder() -> Path:
    named = os.environ.get(CACHE_VARIABLE)
    return (Path(named) if named else Path.home() / ".cache" / "swarm") / "nodes"


def run_node(
    address: Address,
    clock: Clock,
    say: Callable[[str], None],
    *,
    name: str | None = None,
    taken_away: Callable[[], bool] = lambda: False,
    patience_s: float = PATIENCE_S,
) -> str:
    """Runs orders until the study ends, `taken_away` says so, or the driver is silent for `patience_s`. Returns why.

    Raises NodeError when the driver refuses this node or cannot be reached at all, and what preparing the data raises.
    """
    caller = address.caller()
    terms = Terms.model_validate_json(caller("terms", b""))
    with place(nodes_folder(), name or os.environ.get(NAME_VARIABLE) or socket.gethostname()) as mine:
        probe, cards = detect_probe(terms.device), cards_for(terms.device, ALL, say)
        if terms.device == "cuda":
            say(str(require_usable(NvmlProbe(), "auto", only=cards)))
        brings_data = terms.brings_data
        prepared = mine.folder if brings_data else _data(terms, say)
        data = OWN if brings_data else data_sha256(prepared)
        facts = facts_of(mine, terms, probe, cards, data)
        admission = AdmissionController(default_root(), probe, clock, cards=cards)
        trials = mine.folder / "trials" / terms.study_id
        with contextlib.nullcontext() if brings_data else warm(say) as zygote:
            executor = LocalExecutor(trials, prepared, admission, clock, zygote=zygote)
            agent = Agent(caller, executor, facts, mine.folder / "held.json", clock)
            say(f"node {mine.name} asks {address.host}:{address.port} for trials of {terms.study_id}")
            try:
                return _work(agent, clock, taken_away, patience_s)
            finally:
                if agent.ended:
                    _kill_all(trials)


def _work(agent: Agent, clock: Clock, taken_away: Callable[[], bool], patience_s: float) -> str:
    while not agent.ended:
        agent.step()
        if agent.refused and agent.silent_s == 0.0:
            raise NodeError(f"the driver refuses this node: {agent.refused}")
        if taken_away():
            agent.drain()
            return "taken away: what it held was given back"
        if agent.silent_s > patience_s:
            agent.drain()
            return f"the driver did not answer for {patience_s:.0f} s: {agent.refused}"
        clock.sleep(POLL_S)
    return "the study has ended"


@contextlib.contextmanager
def place(folder: Path, name: str) -> Iterator[Place]:
    """The first free name. Raises NodeError when there are NAMES_TRIED agents of this machine."""
    for number in range(1, NAMES_TRIED + 1):
        tried = name if number == 1 else f"{name}-{number}"
        mine = folder / tried
        mine.mkdir(parents=True, exist_ok=True)
        lock = FileLock(mine / "lock", fallback_to_soft=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        try:
            yield Place(tried, mine)
        finally:
            lock.release()
        return
    raise NodeError(f"{NAMES_TRIED} nodes are called {name} already, in {folder}")


@contextlib.contextmanager
def warm(say: Callable[[str], None]) -> Iterator[Path | None]:
    """A process that has the libraries of a trial loaded; without one each trial starts cold."""
    with tempfile.TemporaryDirectory(prefix="swarm-node-") as folder:
        try:
            zygote = Zygote.start(PRELOAD, Path(folder) / "z", pythonpath=(str(code_root()),))
        except TrialError as error:
            say(f"trials start cold here: {error}")
            yield None
            return
        try:
            yield zygote.socket_path
        finally:
            zygote.stop()


def facts_of(mine: Place, terms: Terms, probe: GpuProbe, uuids: Sequence[str], data: str) -> Callable[[], NodeFacts]:
    """Who this node is, with those of its cards that it may use, all on a CPU; free memory is read anew each time.
    `data`: their hash."""
    harness, mark = harness_sha256(), mine.mark

    def usable() -> list[DeviceReading]:
        return [reading for reading in probe.read() if not uuids or reading.uuid in uuids]

    readings = usable()
    model = device_class(terms.device, readings[0].name if readings else "")

    def now() -> NodeFacts:
        cards = tuple(
            Card(name=reading.name, total_mib=reading.total_mib, free_mib=reading.free_mib) for reading in usable()
        )
        return NodeFacts(
            name=mine.name,
            place=mark,
            version=VERSION,
            harness_sha256=harness,
            data_sha256=data,
            device=terms.device,
            device_class=model,
            cores=len(os.sched_getaffinity(0)),
            pid=os.getpid(),
            cards=cards,
        )

    return now


def _data(terms: Terms, say: Callable[[str], None]) -> Path:
    harness, choice = prepared_as(terms.dataset)
    return prepare_data(choice, terms.device, harness, say).data_dir


def _kill_all(trials: Path) -> None:
    for folder in trials.iterdir() if trials.exists() else ():
        kill_leftovers(folder)
