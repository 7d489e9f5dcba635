"""An executor that runs nothing: each trial follows a script, one step a poll, with no process and no sleep.

The script is the text of the order's editable file: one of SCRIPTS. For tests of everything above the executor.
"""

from collections.abc import Generator
from dataclasses import dataclass, field

from swarm.execution.executor import Outcome, Progress, Started, TrialOrder
from swarm.records import FailReason, Resources, Score
from swarm.trial.contract import harness_sha256

Steps = Generator[Progress, None, Outcome]
SCRIPTS = ("scores", "crashes", "crashes_at_once", "diverges", "hangs", "lacks_memory_once", "lacks_memory")
CORES = 64
ATTEMPTS = 3
STEPS = 4  # polls of a training that ends by itself
LOSS = 2.0
RUNG_LOSS = 3.0


@dataclass
class World:
    """The trials of one study, as several processes see them: what another executor can adopt."""

    trials: dict[str, "ScriptedTrial"] = field(default_factory=dict)
    losses: dict[str, list[float]] = field(default_factory=dict)
    weights: set[str] = field(default_factory=set)


class ScriptedExecutor:
    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()
        self.orders: list[TrialOrder] = []

    def submit(self, order: TrialOrder) -> "ScriptedTrial":
        self.orders.append(order)
        trial = ScriptedTrial(self.world, TrialOrder.model_validate_json(order.model_dump_json()))
        self.world.trials[order.trial_id] = trial
        return trial

    def adopt(self, trial_id: str) -> "ScriptedTrial | None":
        return self.world.trials.get(trial_id)

    def losses(self, trial_id: str) -> list[float] | None:
        return self.world.losses.get(trial_id)

    def drop_weights(self, trial_id: str) -> None:
        self.world.weights.discard(trial_id)


class ScriptedTrial:
    """`lost` is set by a test: whoever ran the current attempt has died."""

    def __init__(self, world: World, order: TrialOrder) -> None:
        self.order = order
        self.lost = False
        self._world = world
        self._stop_reason: str | None = None
        self._started: Started | None = None
        self._outcome: Outcome | None = None
        self._steps = self._run()

    def poll(self) -> Progress | Outcome:
        if self._outcome is None:
            try:
                return next(self._steps)
            except StopIteration as end:
                self._outcome = end.value
        assert self._outcome is not None
        return self._outcome

    def stop(self, reason: str) -> None:
        self._stop_reason = self._stop_reason or reason

    def detach(self) -> None:
        if self._started is None:
            del self._world.trials[self.order.trial_id]

    def _run(self) -> Steps:
        script = self.order.files[self.order.editable].decode()
        if self.order.harness_sha256 != harness_sha256():
            return Outcome(reason=FailReason.HARNESS_MODIFIED, detail="the harness here is not the study's")
        if self.order.threads > CORES:
            return Outcome(reason=FailReason.INFEASIBLE, detail="larger than the device")
        yield Progress(state="waiting", why="somebody else has the device")
        attempt, losses, reservation = 0, 0, self.order.memory.profile_mib
        while True:
            if self._stop_reason is not None:
                return self._end(FailReason.ABANDONED, f"{self._stop_reason} while it waited")
            attempt += 1
            self._started = Started(
                attempt=attempt, lease_id=f"l{attempt}", device_uuid="d", reservation_mib=reservation, alone=False
            )
            reason = yield from self._attempt(script)
            if reason == "lost":
                self.lost, losses, attempt = False, losses + 1, attempt - 1
                if losses > 1:
                    return self._end(FailReason.ABANDONED, "its supervisor died")
            elif reason is None and attempt < {"lacks_memory_once": 2, "lacks_memory": ATTEMPTS}.get(script, 0):
                reservation *= 2
            else:
                return self._ended(script, reason)

    def _attempt(self, script: str) -> Generator[Progress, None, str | None]:
        """The reason that it was stopped for, "lost", or None when it ended by itself."""
        step = 0
        while (step < STEPS and script != "crashes_at_once") or script == "hangs":
            step += 1
            due = [rung for rung in self.order.rungs if rung <= step / STEPS]
            yield Progress(state="running", started=self._started, rungs=tuple((rung, RUNG_LOSS) for rung in due))
            if self.lost or self._stop_reason is not None:
                return "lost" if self.lost else self._stop_reason
        return None

    def _ended(self, script: str, stopped: str | None) -> Outcome:
        if stopped is not None:
            return self._end(FailReason.PRUNED if stopped.startswith("pruned") else FailReason.ABANDONED, stopped)
        if script == "lacks_memory":
            return self._end(FailReason.INFEASIBLE, "out of memory even alone")
        if script in ("crashes", "crashes_at_once", "diverges"):
            return self._end(FailReason.DIVERGED if script == "diverges" else FailReason.CRASHED, f"train {script}")
        self._world.losses[self.order.trial_id] = [LOSS] * 10
        self._world.weights.add(self.order.trial_id)
        rungs = tuple((rung, RUNG_LOSS) for rung in self.order.rungs)
        score = Score(validation_loss=LOSS, top1=0.5, top5=0.8, calibrated_loss=LOSS, rows=10)
        return self._end(None, "").model_copy(update={"score": score, "rungs": rungs})

    def _end(self, reason: FailReason | None, detail: str) -> Outcome:
        return Outcome(
            reason=reason,
            detail=detail,
            started=self._started,
            attempts=self._started.attempt if self._started else 1,
            resources=Resources(device="scripted") if self._started else None,
        )
