"""The executor of a worker whose trials run on nodes: it asks the exchange, and knows no node."""

from pathlib import Path

from pydantic import BaseModel

from swarm.clock import Clock
from swarm.errors import NodeError, TrialError
from swarm.execution.executor import Outcome, Progress, RunningTrial, TrialOrder
from swarm.nodes.door import MAX_BODY_BYTES, Caller
from swarm.nodes.host import Stop, driver_address, read_address
from swarm.nodes.values import Look
from swarm.study.settings import Layout
from swarm.trial.folder import TrialFolder

LOOK_EVERY_S = 0.5
PATIENCE_S = 120.0  # with an exchange that does not answer while its orchestrator lives


class RemoteExecutor:
    """Trials of one study on whatever nodes it has. For one thread."""

    def __init__(self, layout: Layout, study_id: str, clock: Clock, look_every_s: float = LOOK_EVERY_S) -> None:
        self._trials = layout.trials(study_id)
        self._line = _Line(driver_address(layout, study_id), clock)
        self._clock = clock
        self._look_every_s = look_every_s

    def submit(self, order: TrialOrder) -> RunningTrial:
        """Raises NodeError when the exchange does not answer, and TrialError for an order too large to travel."""
        size = len(order.model_dump_json())
        if size > MAX_BODY_BYTES:
            raise TrialError(
                f"the folder of {order.target} makes {size >> 20} MiB in an order, and nodes take at most "
                f"{MAX_BODY_BYTES >> 20} MiB. Make it smaller, or leave --executor out."
            )
        self._line.ask("submit", order)
        return _RemoteTrial(self._line, order.trial_id, self._clock, self._look_every_s)

    def adopt(self, trial_id: str) -> RunningTrial | None:
        if not self._line.ask("look", trial_id):
            return None
        return _RemoteTrial(self._line, trial_id, self._clock, self._look_every_s)

    def losses(self, trial_id: str) -> list[float] | None:
        import numpy as np

        try:
            losses = np.load(TrialFolder(self._trials / trial_id).losses, allow_pickle=False)
        except (OSError, ValueError):
            return None
        row: list[float] = losses.astype("float64").tolist()
        return row

    def drop_weights(self, trial_id: str) -> None:
        """On the node that has them, when it is heard next; a node that is gone has taken them with it."""
        self._line.ask("drop_weights", trial_id)


class _Line:
    """The way to the exchange, which may be another process by the next question."""

    def __init__(self, address: Path, clock: Clock) -> None:
        self._address = address
        self._clock = clock
        self._caller: Caller | None = None

    def ask(self, name: str, asked: BaseModel | str) -> bytes:
        """Tried again for PATIENCE_S. Raises NodeError."""
        until = self._clock.monotonic() + PATIENCE_S
        while True:
            try:
                return self.ask_once(name, asked)
            except NodeError:
                if self._clock.monotonic() > until:
                    raise
                self._clock.sleep(1.0)

    def ask_once(self, name: str, asked: BaseModel | str) -> bytes:
        body = asked if isinstance(asked, str) else asked.model_dump_json()
        try:
            self._caller = self._caller or read_address(self._address).caller()
            return self._caller(name, body.encode())
        except NodeError:
            self._caller = None
            raise


class _RemoteTrial:
    def __init__(self, line: _Line, trial_id: str, clock: Clock, look_every_s: float) -> None:
        self._line = line
        self._trial_id = trial_id
        self._clock = clock
        self._look_every_s = look_every_s
        self._seen: Progress = Progress(state="waiting", why="it was given to the exchange")
        self._outcome: Outcome | None = None
        self._next = 0.0
        self._silent_since: float | None = None
        self._stopped = False

    def poll(self) -> Progress | Outcome:
        """Raises TrialError when no node could set it up, or the exchange has forgotten it."""
        if self._outcome is not None:
            return self._outcome
        now = self._clock.monotonic()
        if now < self._next:
            return self._seen
        self._next = now + self._look_every_s
        try:
            said = self._line.ask_once("look", self._trial_id)
            self._silent_since = None
        except NodeError:
            self._silent_since = self._silent_since if self._silent_since is not None else now
            if now - self._silent_since > PATIENCE_S:
                raise
            return self._seen  # the orchestrator is about to end, and so is this worker, or it comes back
        if not said:
            raise TrialError(f"the exchange knows no trial {self._trial_id} any more")
        look = Look.model_validate_json(said)
        if look.broken is not None:
            raise TrialError(look.broken)
        if look.outcome is not None:
            self._outcome = look.outcome
            return look.outcome
        self._seen = look.progress or self._seen
        return self._seen

    def stop(self, reason: str) -> None:
        if self._outcome is None and not self._stopped:
            self._line.ask("stop", Stop(trial_id=self._trial_id, reason=reason))
            self._stopped = True

    def detach(self) -> None:
        """Where the exchange is gone, its next run finds what was written down."""
        try:
            self._line.ask_once("leave", self._trial_id)
        except NodeError:
            return
