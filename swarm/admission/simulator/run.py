"""The event loop: workers submit trials, cards answer, the policy decides."""

import hashlib
import heapq
import random
import time
from collections.abc import Callable
from functools import partial

from swarm.admission.policy.events import Event, Finished, Grant, Kill, Sampled, Submitted
from swarm.admission.policy.model import GONE_AFTER_S, Demand, Ending
from swarm.admission.policy.oom import Infeasible, Retry, after_oom
from swarm.admission.policy.predict import History, PeakQuery, PeakRecord, predict, under_prediction_rate
from swarm.admission.simulator.card import Answer, Card, Process
from swarm.admission.simulator.invariants import Checker
from swarm.admission.simulator.policies import make_policy
from swarm.admission.simulator.report import SimulationReport
from swarm.admission.simulator.tally import Setup, Tally, summarise
from swarm.admission.simulator.trial import Run
from swarm.admission.simulator.workload import CONTEXT_MIB, Step, make_jobs
from swarm.gpu.reading import Attribution

BOOKED_CONTEXT_MIB = 600
THINK_S = (5.0, 40.0)
RETURN_S = (0.1, 2.0)
FOREIGN_EVERY_S = 900.0
KILL_GRACE_S = 8.0
CHECKED_CARDS = 8
GIVE_UP_AFTER = 8


class Simulation:
    """One run over its events. Call `run` once."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.load = setup.load
        self.rng = random.Random(setup.seed + 1)
        self.cards = {f"GPU-{i:04d}": Card(f"GPU-{i:04d}") for i in range(setup.cards)}
        self.card = self.cards["GPU-0000"]  # they are all alike
        self.policy = make_policy(setup.policy, list(self.cards.values()))
        self.surge = self.card.headroom_mib // 2 if setup.surge_mib is None else setup.surge_mib
        self.todo = list(reversed(make_jobs(setup.jobs, setup.seed, setup.load)))
        self.history = History()
        self.checker = Checker(self.cards, setup.load.walltime_limit_s + KILL_GRACE_S)
        self.checking = setup.cards <= CHECKED_CARDS
        self.tally = Tally()
        self.log = hashlib.sha256()
        self.runs: dict[str, Run] = {}
        self.running: set[str] = set()
        self.now = 0.0
        self.used_mib = 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def run(self) -> SimulationReport:
        for worker in range(min(self.setup.workers, len(self.todo))):
            self._at(self.rng.uniform(0, 5), partial(self._next_trial, worker))
        for uuid in self.cards:
            self._at(self.rng.uniform(0, FOREIGN_EVERY_S), partial(self._foreign, uuid))
        if self.setup.lost_at_s is not None:
            self._at(self.setup.lost_at_s, partial(self._lose, "GPU-0000"))
        while self._heap and (self.todo or self.runs):
            at, _, action = heapq.heappop(self._heap)
            self.tally.used_mib_s += self.used_mib * (at - self.now)
            self.now = at
            action()
        return summarise(
            self.setup,
            self.tally,
            makespan_s=self.now,
            usable_mib=sum(card.usable_mib for card in self.cards.values()),
            under_prediction=under_prediction_rate(self.history.records),
            log_sha256=self.log.hexdigest(),
            violations=tuple(self.checker.violations),
        )

    # A trial's life

    def _next_trial(self, worker: int) -> None:
        if not self.todo:
            return
        job = self.todo.pop()
        room = self.card.usable_mib - self.card.headroom_mib
        query = PeakQuery(job.code, (job.parent,), job.batch_ratio, structural=job.structural)
        prediction = predict(query, self.history, usable_mib=room)
        memory, alone = prediction.demand(BOOKED_CONTEXT_MIB, room)
        self._submit(Run(job, worker, prediction, memory, alone))

    def _submit(self, run: Run) -> None:
        run.submitted_s = self.now
        self.runs[run.run_id] = run
        self._note(f"submit {run.run_id} {run.memory_mib}")
        limit = self.load.walltime_limit_s + KILL_GRACE_S
        demand = Demand(run.run_id, run.memory_mib, limit, run.alone)
        self._tell(Submitted(demand))

    def _start(self, grant: Grant) -> None:
        run = self.runs[grant.ticket_id]
        card = self.cards[grant.uuid]
        run.card, run.started_s = grant.uuid, self.now
        run.memory_mib = grant.hold.reservation_mib
        cap = grant.hold.reservation_mib - BOOKED_CONTEXT_MIB if self.policy.caps else None
        card.start(run.run_id, Process(grant.hold.reservation_mib, cap, grant.hold.alone))
        self.running.add(run.run_id)
        self._note(f"start {run.run_id} {grant.uuid} {grant.hold.reservation_mib}")
        if self.checking:
            self.checker.granted(card, self.now)
        self.tally.waits.append(self.now - run.submitted_s)
        self.tally.most_running = max(self.tally.most_running, len(self.running))
        for step in run.job.steps:
            if step.at_s < run.job.duration_s:
                self._at(step.at_s, partial(self._use, run.run_id, step))
        if run.job.crashes and run.attempt == 0:
            self._at(run.job.duration_s * 0.4, partial(self._crash, run.run_id))
        self._at(run.job.duration_s, partial(self._complete, run.run_id))

    def _use(self, run_id: str, step: Step) -> None:
        if not self._steps(run_id):
            return
        run = self.runs[run_id]
        card = self.cards[run.card]
        before = card.used_mib
        answer, missing = card.set_use(run_id, step.allocator_mib, step.raw_mib + CONTEXT_MIB)
        if answer is Answer.OK:
            self.used_mib += card.used_mib - before
            if self.checking:
                self.checker.used(card, run_id, self.now)
            self._sample(run.card)
            if card.processes.get(run_id) is not None and card.processes[run_id].over:
                self._watch(run_id, 15)
            return
        device = answer is Answer.DEVICE_FULL
        if self.checking:
            self.checker.out_of_memory(card, run_id, self.now, device=device)
        if device:
            self.tally.device_ooms += 1
            self._end(run_id, Ending.DEVICE_OOM, deficit=missing)
        else:
            self.tally.own_ooms += 1
            self._record_peak(run, step.allocator_mib, too_small=True)
            needed = int(step.allocator_mib * 1.15) + BOOKED_CONTEXT_MIB
            self._end(run_id, Ending.OWN_CAP, needed=needed)

    def _watch(self, run_id: str, left: int) -> None:
        """Once a second while a job is over its reservation."""
        if left and run_id in self.running:
            self._at(1.0, partial(self._look, run_id, left))

    def _look(self, run_id: str, left: int) -> None:
        if run_id in self.running:
            self._sample(self.runs[run_id].card)
            self._watch(run_id, left - 1)

    def _steps(self, run_id: str) -> bool:
        """Whether it still makes steps: it is there, and so is its card."""
        return run_id in self.running and not self.cards[self.runs[run_id].card].lost

    def _complete(self, run_id: str) -> None:
        if not self._steps(run_id):
            return
        run = self.runs[run_id]
        self._record_peak(run, run.job.peak_mib, too_small=False)
        if self.policy.reserves and not run.alone and run.prediction.source != "default":
            self.tally.over.append((run.memory_mib - BOOKED_CONTEXT_MIB - run.job.peak_mib) / run.job.peak_mib)
        self.tally.finished += 1
        self._end(run_id, Ending.CLEAN)

    def _crash(self, run_id: str) -> None:
        """It dies without a word; the next look at the ledger notices within two seconds."""
        if not self._steps(run_id):
            return
        self.tally.crashes += 1
        self._free(run_id, silently=True)
        self._note(f"crash {run_id}")
        self._at(self.rng.uniform(0.1, 2.0), partial(self._conclude, run_id, Ending.OTHER, 0, 0))

    def _kill(self, run_id: str) -> None:
        if run_id not in self.running:
            return
        self.tally.kills += 1
        if self.checking:
            self.checker.killed(run_id, self.now)
        self._record_peak(self.runs[run_id], self.runs[run_id].job.peak_mib, too_small=True)
        self._end(run_id, Ending.OVER_RESERVATION)

    def _end(self, run_id: str, ending: Ending, deficit: int = 0, needed: int = 0) -> None:
        self._free(run_id, silently=False)
        self._conclude(run_id, ending, deficit, needed)

    def _free(self, run_id: str, *, silently: bool) -> None:
        run = self.runs[run_id]
        card = self.cards[run.card]
        if self.checking:
            self.checker.ended(card, run_id, self.now, silently=silently)
        self.running.discard(run_id)
        memory = card.end(run_id)
        self.used_mib -= memory
        back = self.rng.uniform(*RETURN_S)
        self._at(back, partial(self._returned, card.uuid, memory))
        # The policy looks again when a drain or a foreign high-water may have run out.
        for later in (10.5, 31.0):
            self._at(later, partial(self._sample, card.uuid))

    def _conclude(self, run_id: str, ending: Ending, deficit: int, needed: int) -> None:
        run = self.runs.pop(run_id)
        self._note(f"end {run_id} {ending.value}")
        self._tell(Finished(run_id, ending, deficit))
        following: Retry | Infeasible | None
        if ending is Ending.OTHER:
            following = Retry(run.memory_mib, run.alone, run.attempt + 1)
        else:
            card = self.cards[run.card]
            following = after_oom(
                ending,
                reservation_mib=run.memory_mib,
                attempt=run.attempt,
                alone=run.alone,
                needed=needed,
                device_mib=card.usable_mib - card.headroom_mib,
            )
        if isinstance(following, Retry) and run.number + 1 >= GIVE_UP_AFTER:
            following = Infeasible(f"failed {GIVE_UP_AFTER} times")
        if following is not None:
            self.tally.lost_work_s += self.now - run.started_s
        if isinstance(following, Retry):
            self._submit(run.again(following))
            return
        self.tally.infeasible += following is not None
        self._at(self.rng.uniform(*THINK_S), partial(self._next_trial, run.worker))

    # The cards

    def _returned(self, uuid: str, memory: int) -> None:
        self.cards[uuid].returned(memory)
        self._sample(uuid)

    def _foreign(self, uuid: str) -> None:
        """Somebody's viewer opens or closes; half a second of spike now and then."""
        card = self.cards[uuid]
        card.set_foreign(self.rng.randrange(0, self.surge + 1) if self.rng.random() < 0.5 else 0)
        self.checker.changed_outside(card, self.now)
        self._sample(uuid)
        for later in (31.0, 32.0):
            self._at(later, partial(self._sample, uuid))
        self._at(self.rng.uniform(0.5, 2 * FOREIGN_EVERY_S), partial(self._foreign, uuid))

    def _sample(self, uuid: str) -> None:
        card = self.cards[uuid]
        matched = self.setup.attribution is Attribution.MATCHED
        measured = {name: process.used_mib for name, process in card.processes.items()} if matched else {}
        self._tell(Sampled(card.reading(self.setup.attribution), measured))

    def _lose(self, uuid: str) -> None:
        """It is looked at once a second for as long as it takes to be sure."""
        card = self.cards[uuid]
        card.lost = True
        self._note(f"lost {uuid}")
        self.checker.lost(card, self.now)
        for second in range(int(GONE_AFTER_S) + 3):
            self._at(float(second), partial(self._sample, uuid))

    def _abandon(self, run_id: str) -> None:
        """Its card is lost: its worker goes on with another trial."""
        if run_id not in self.running:
            return
        self._free(run_id, silently=False)
        run = self.runs.pop(run_id)
        self._note(f"abandon {run_id}")
        self._tell(Finished(run_id, Ending.OTHER))
        self.tally.abandoned += 1
        self._at(self.rng.uniform(*THINK_S), partial(self._next_trial, run.worker))

    # The policy

    def _tell(self, event: Event) -> None:
        began = time.thread_time()
        actions = self.policy.handle(event, self.now)
        self.tally.decisions.append(time.thread_time() - began)
        for action in actions:
            if isinstance(action, Grant):
                self._start(action)
        for action in actions:
            if isinstance(action, Kill):
                self._note(f"kill {action.lease_id}")
                (self._abandon if action.lost else self._kill)(action.lease_id)
        if self.checking:
            self.checker.looked(self.policy, self.now)

    def _record_peak(self, run: Run, peak: int, *, too_small: bool) -> None:
        self.history.add(
            PeakRecord(run.job.code, peak, run.memory_mib, run.prediction.peak_mib, run.prediction.source, too_small)
        )

    def _at(self, delay: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (self.now + delay, self._count, action))

    def _note(self, line: str) -> None:
        self.log.update(f"{self.now:.6f} {line}\n".encode())
