"""What two hundred nodes cost the driver: the exchange over real sockets, the brain on disk, the dispatcher as it is.

    python benchmarks/many_nodes.py [--nodes 200] [--trial-s 60] [--seconds 120] [--warm-s 300]

Nodes are threads of a second process with real agents; what they run is scripted and takes `--trial-s` by the clock, a
fifth more or less. The driver is this process: exchange, workers one after the other (a study has a process for each),
claims, endings and verdicts through the brain, proposals by `climb` and `library`. Not in it: git, briefings of models,
trainings. Measured are `--seconds` of a steady state: they begin when nine nodes of ten have work and as many trials
have ended as there are nodes, at the latest after `--warm-s`, and then `steady` is false. Prints one line of JSON;
times are of this machine with whatever else it does, seconds of CPU are the driver's own.
"""

import argparse
import json
import multiprocessing
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
from make_replay_table import PROGRAM
from replay_study import BASE, Texts, replay_finished, replay_opened, replay_settings

from swarm import verdict
from swarm.brain import Brain
from swarm.clock import SystemClock
from swarm.errors import StaleSnapshot
from swarm.execution.executor import MemoryEvidence, Outcome, Progress, RunningTrial, Started, TrialOrder
from swarm.nodes.agent import Agent
from swarm.nodes.host import Address, ExchangeHost
from swarm.nodes.remote import RemoteExecutor
from swarm.nodes.values import NodeFacts, Terms
from swarm.records import Budget, ProposalClaimed, Record, Score, TrialStarted
from swarm.study.settings import Layout, RunSettings
from swarm.study.state import BrainState
from swarm.version import VERSION
from workers.arms import Arms
from workers.claims import Draft, Refused, baseline_claim, proposal_claim, replicate_claim
from workers.dispatch import BaselineReplicate, Propose, Replicate, choose
from workers.drafts import Drafter
from workers.proposers.climb import ClimbProposer
from workers.proposers.library import LibraryProposer
from workers.proposers.tpe import TpeProposer
from workers.session import Session

HARNESS = "a" * 64
LOSSES = tuple(float(number % 7) for number in range(5000))
SPARE_S = 0.05
STEADY = 0.9  # of the nodes have work


class TimedTrial:
    """Runs until its time is over."""

    def __init__(self, order: TrialOrder, seconds: float) -> None:
        self._ends = time.monotonic() + seconds
        self._order = order
        self._stopped = False
        self._started = Started(attempt=1, lease_id="l", device_uuid="d", reservation_mib=1, alone=False)

    def poll(self) -> Progress | Outcome:
        if time.monotonic() < self._ends and not self._stopped:
            return Progress(state="running", started=self._started)
        loss = random.Random(self._order.seed).gauss(2.0, 0.02)
        score = Score(validation_loss=loss, top1=0.5, top5=0.8, calibrated_loss=loss, rows=len(LOSSES))
        return Outcome(score=score, started=self._started)

    def stop(self, reason: str) -> None:
        self._stopped = True

    def detach(self) -> None:
        pass


class TimedExecutor:
    """`came`: when each order reached a node."""

    def __init__(self, trial_s: float, came: dict[str, float]) -> None:
        self._trial_s, self._came = trial_s, came

    def submit(self, order: TrialOrder) -> RunningTrial:
        self._came[order.trial_id] = time.monotonic()
        return TimedTrial(order, self._trial_s * random.uniform(0.8, 1.2))

    def adopt(self, trial_id: str) -> RunningTrial | None:
        return None

    def losses(self, trial_id: str) -> list[float] | None:
        return list(LOSSES)

    def drop_weights(self, trial_id: str) -> None:
        pass


def be_nodes(address: Address, count: int, trial_s: float, folder: Path, line: Connection) -> None:
    """All nodes in this process, until the other side says something; then when each order came."""
    came: dict[str, float] = {}
    ended = threading.Event()

    def work(number: int) -> None:
        facts = NodeFacts(
            name=f"n{number:04}",
            version=VERSION,
            harness_sha256=HARNESS,
            data_sha256=HARNESS,
            device="cpu",
            device_class="simulated",
            cores=1,
            pid=1,
        )
        note = folder / f"{number}.json"
        agent = Agent(address.caller(), TimedExecutor(trial_s, came), lambda: facts, note, SystemClock())
        time.sleep(random.uniform(0, 2))
        while not ended.is_set():
            agent.step()
            time.sleep(0.5)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    line.recv()
    ended.set()
    line.send(came)


@dataclass
class Slot:
    """One worker of the study: its trial, and how it is watched."""

    agent_id: str
    arms: Arms
    drafter: Drafter
    executor: RemoteExecutor
    running: RunningTrial | None = None
    claim: ProposalClaimed | None = None
    told: bool = False  # that it has started


@dataclass
class Tally:
    """`busy`: nodes with work, one number a second."""

    busy: list[int] = field(default_factory=list)
    appends: int = 0
    claims: int = 0
    endings: int = 0
    claim_s: list[float] = field(default_factory=list)
    proposing_cpu_s: float = 0.0  # of `driver_cpu_s`: a real study does this in a process for each worker
    submitted: dict[str, float] = field(default_factory=dict)


class Driver:
    def __init__(self, folder: Path, nodes: int) -> None:
        self.tally = Tally()
        base = PROGRAM.read_text(encoding="utf-8")
        layout = Layout(root=folder)
        layout.root.mkdir()
        changed = {"workers": nodes, "root": folder, "brain": layout.brain, "harness_sha256": HARNESS}
        self._settings: RunSettings = replay_settings(1, "shared").model_copy(update=changed)
        self._brain = Brain(layout.brain)
        self._brain.append(replay_opened(1, "shared").model_copy(update={"workers": nodes}))
        terms = Terms(
            study_id=self._settings.study_id,
            version=VERSION,
            harness_sha256=HARNESS,
            dataset="standin",
            data_sha256=HARNESS,
            device="cpu",
        )
        layout.trials(terms.study_id).mkdir(parents=True)
        self.host = ExchangeHost(layout, terms, SystemClock())
        self._texts, self._base = Texts(base), base
        self._slots = [self._slot(f"worker_{number + 1}", layout) for number in range(nodes)]

    def warm(self, limit_s: float) -> bool:
        """Until the state is steady; whether it is."""
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            self.run(1.0)
            if self.tally.endings >= len(self._slots) and self.tally.busy[-1] >= STEADY * len(self._slots):
                return True
        return False

    def run(self, seconds: float) -> None:
        until, look = time.monotonic() + seconds, 0.0
        while time.monotonic() < until:
            for slot in self._slots:
                self._tend(slot)
                if (now := time.monotonic()) >= look:
                    self.tally.busy.append(sum(node.state == "working" for node in self.host.nodes()))
                    look = now + 1.0
                if now > until:
                    return
            time.sleep(SPARE_S)

    def _slot(self, agent_id: str, layout: Layout) -> Slot:
        proposers = {"tpe": TpeProposer(), "climb": ClimbProposer(), "library": LibraryProposer()}
        arms = Arms(proposers, tuple(proposers), SystemClock())
        session = Session(self._settings, agent_id, self._brain, SystemClock())
        drafter = Drafter(session, self._texts, arms, None)  # type: ignore[arg-type]
        return Slot(agent_id, arms, drafter, RemoteExecutor(layout, self._settings.study_id, SystemClock()))

    def _tend(self, slot: Slot) -> None:
        if slot.running is None:
            began = time.monotonic()
            if (claim := self._claimed(slot)) is not None:
                self.tally.claim_s.append(time.monotonic() - began)
                self.tally.claims += 1
                self.tally.submitted[claim.trial_id] = time.monotonic()
                slot.claim, slot.running = claim, slot.executor.submit(self._order(claim))
            return
        now = slot.running.poll()
        if isinstance(now, Progress) and now.started is not None and not slot.told and slot.claim is not None:
            self._start(slot.claim, slot.agent_id)
            slot.told = True
        if isinstance(now, Outcome) and slot.claim is not None:
            if not slot.told:
                self._start(slot.claim, slot.agent_id)
            self._end(slot.claim, slot.agent_id, now)
            slot.running, slot.claim, slot.told = None, None, False

    def _claimed(self, slot: Slot) -> ProposalClaimed | None:
        study = self._brain.snapshot().studies[self._settings.study_id]
        assignment = choose(study, agent_id=slot.agent_id, arms=slot.arms.available())
        try:
            match assignment:
                case BaselineReplicate():
                    return self._claim(lambda s: baseline_claim(s, self._settings, slot.agent_id, self._base))
                case Replicate(program=name):
                    return self._claim(lambda s: replicate_claim(s, self._settings, slot.agent_id, name))
                case Propose():
                    return self._proposed(slot, assignment)
        except (StaleSnapshot, Refused):
            return None
        return None

    def _proposed(self, slot: Slot, assignment: Propose) -> ProposalClaimed | None:
        arms = slot.arms.at_once(first=assignment.arm)
        drafts = (slot.drafter.draft(replace(assignment, arm=arm)) for arm in arms)
        began = time.thread_time()
        draft = next((draft for draft in drafts if isinstance(draft, Draft)), None)
        self.tally.proposing_cpu_s += time.thread_time() - began
        if draft is None:
            return None
        study = self._brain.snapshot().studies[self._settings.study_id]
        parent = self._texts.of_program(study, draft.proposal.parent)
        claim = self._claim(lambda s: proposal_claim(s, self._settings, slot.agent_id, draft, parent))
        self._texts.add(claim.trial_id, draft.proposal.source)
        return claim

    def _claim(self, build: Callable[[BrainState], ProposalClaimed]) -> ProposalClaimed:
        record = self._brain.transact(lambda state: [build(state)])[0]
        self.tally.appends += 1
        assert isinstance(record, ProposalClaimed)
        return record

    def _order(self, claim: ProposalClaimed) -> TrialOrder:
        return TrialOrder(
            study_id=self._settings.study_id,
            trial_id=claim.trial_id,
            agent_id=claim.agent_id,
            target="replay",
            files={"train.py": self._base.encode()},
            editable="train.py",
            seed=claim.seed,
            budget=Budget(kind="samples", amount=1, walltime_limit_s=60),
            device="cpu",
            threads=1,
            harness_sha256=HARNESS,
            memory=MemoryEvidence(profile_mib=1),
        )

    def _start(self, claim: ProposalClaimed, agent_id: str) -> None:
        is_base = claim.program == next(iter(self._brain.snapshot().studies[self._settings.study_id].programs))
        record = TrialStarted(
            agent_id=agent_id,
            study_id=self._settings.study_id,
            trial_id=claim.trial_id,
            commit=BASE if is_base else claim.program,
            reservation_mib=1,
            lease_id="l",
            device_uuid="d",
        )
        self._brain.append(record)
        self.tally.appends += 1

    def _end(self, claim: ProposalClaimed, agent_id: str, outcome: Outcome) -> None:
        assert outcome.score is not None
        ended = replay_finished(claim.trial_id, agent_id, claim.seed, outcome.score.validation_loss)
        study_id = self._settings.study_id
        self._brain.append(ended.model_copy(update={"study_id": study_id}))

        def conclude(state: BrainState) -> list[Record]:
            reached: Sequence[Record] = verdict.conclude(state.studies[study_id], claim.trial_id)
            return [record.model_copy(update={"study_id": study_id, "agent_id": agent_id}) for record in reached]

        self.tally.appends += 1 + len(self._brain.transact(conclude))
        self.tally.endings += 1


def percentile(values: Sequence[float], share: float) -> float:
    return round(sorted(values)[min(len(values) - 1, int(share * len(values)))], 3) if values else float("nan")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--trial-s", type=float, default=60.0)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--warm-s", type=float, default=300.0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        driver = Driver(Path(folder) / "driver", asked.nodes)
        (Path(folder) / "nodes").mkdir()
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        arguments = (driver.host.address, asked.nodes, asked.trial_s, Path(folder) / "nodes", theirs)
        nodes = multiprocessing.get_context("spawn").Process(target=be_nodes, args=arguments)
        nodes.start()
        process = psutil.Process()
        began = time.monotonic()
        steady = driver.warm(asked.warm_s)
        warm_s, driver.tally = time.monotonic() - began, Tally()
        before, began = process.cpu_times(), time.monotonic()
        driver.run(asked.seconds)
        wall_s, after = time.monotonic() - began, process.cpu_times()
        ours.send("enough")
        came = ours.recv()
        nodes.join(10)
        nodes.kill()
        nodes.join()
        time.sleep(1.0)  # answers that are on their way
        driver.host.close()
        tally = driver.tally
        waits = [came[name] - at for name, at in tally.submitted.items() if name in came]
        cpu_s = after.user + after.system - before.user - before.system
        print(
            json.dumps(
                {
                    "nodes": asked.nodes,
                    "trial_s": asked.trial_s,
                    "steady": steady,
                    "warm_s": round(warm_s, 1),
                    "busy": {"mean": round(statistics.fmean(tally.busy), 1), "least": min(tally.busy)},
                    "wall_s": round(wall_s, 1),
                    "driver_cpu_s": round(cpu_s, 1),
                    "proposing_cpu_s": round(tally.proposing_cpu_s, 1),
                    "driver_cores": round(cpu_s / wall_s, 2),
                    "driver_mib": process.memory_info().rss >> 20,
                    "claims": tally.claims,
                    "endings": tally.endings,
                    "appends_per_s": round(tally.appends / wall_s, 2),
                    "claims_per_s": round(tally.claims / wall_s, 2),
                    "claim_s": {"p50": percentile(tally.claim_s, 0.5), "p95": percentile(tally.claim_s, 0.95)},
                    "dispatch_s": {"p50": percentile(waits, 0.5), "p95": percentile(waits, 0.95)},
                    "load": round(statistics.fmean(psutil.getloadavg()), 1),
                }
            )
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
