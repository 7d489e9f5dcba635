"""What this machine knows of a running study and the brain does not: steps, the queue, limits, whether it runs at all.

Each is read through the room that owns it. Whatever cannot be read is left out and named; a look disturbs nobody.
"""

import contextlib
from pathlib import Path

from swarm.admission import default_root
from swarm.admission.status import AdmissionStatus
from swarm.admission.status import status as read_status
from swarm.clock import Clock
from swarm.errors import RepoError, SwarmError
from swarm.gpu import detect_probe
from swarm.orchestrator.control import holder, orchestrator_runs
from swarm.orchestrator.settings_file import load_settings
from swarm.records import one_line
from swarm.repo import Repo
from swarm.study.devices import ELSEWHERE
from swarm.study.settings import Layout, RunSettings
from swarm.study.state import StudyState
from swarm.trial.heartbeat import read_beat
from swarm.watch.frame import Card, Waiting
from swarm.watch.nodes import NodesSeen
from swarm.watch.view import Pulse, Reading

LEDGER_EVERY_S = 3.0  # its lock is the workers'


class Readings:
    """Takes one Reading after the other of the studies of one repository, or of a brain that lies in none.

    `ledger`: read the queue and the devices too. It takes the ledger's lock, which whoever must never wait leaves out.
    """

    def __init__(self, layout: Layout | None, clock: Clock, *, ledger: bool = True) -> None:
        self._layout = layout
        self._wants_ledger = ledger
        self._clock = clock
        self._ledger: AdmissionStatus | None = None
        self._ledger_trouble: str | None = None
        self._look_at_ledger = -LEDGER_EVERY_S
        self._nodes = NodesSeen(clock)
        self._limits: tuple[str, float, float | None, int | None] | None = None

    def take(self, study: StudyState) -> Reading:
        now, layout = self._clock.now(), self._layout
        if layout is None or not layout.settings(study.study_id).exists():
            return Reading(at=now)
        runs = study.closed is None and runs_here(layout, study.study_id)
        usd, tokens = self._spend_limits(layout, study)
        if not runs:
            return Reading(at=now, here=True, max_usd=usd, max_tokens=tokens)
        elsewhere = study.opened.device_name == ELSEWHERE  # then this machine's own devices say nothing of it
        if self._wants_ledger and not elsewhere:
            self._look(study.opened.device)
        nodes = self._nodes.take(layout, study.study_id) if elsewhere else ()
        return Reading(
            at=now,
            runs=True,
            here=True,
            pulses=self._pulses(layout, study),
            waiting=_waiting(self._ledger, study.study_id),
            cards=_cards(self._ledger),
            nodes=nodes,
            max_usd=usd,
            max_tokens=tokens,
            trouble=self._nodes.trouble if elsewhere else self._ledger_trouble,
        )

    def _pulses(self, layout: Layout, study: StudyState) -> dict[str, Pulse]:
        found, now = {}, self._clock.monotonic()
        for trial in study.open_trials():
            beat = read_beat(layout.trial(study.study_id, trial.trial_id).heartbeat)
            if beat is not None:
                found[trial.trial_id] = Pulse(beat.progress, beat.step, beat.loss, now - beat.at_s)
        return found

    def _look(self, device: str) -> None:
        now = self._clock.monotonic()
        if now - self._look_at_ledger < LEDGER_EVERY_S:
            return
        self._look_at_ledger = now
        try:
            self._ledger = read_status(default_root(), detect_probe(device), self._clock)
            self._ledger_trouble = None
        except (SwarmError, OSError) as problem:
            self._ledger, self._ledger_trouble = None, one_line(f"no device memory: {problem}", 300)

    def _spend_limits(self, layout: Layout, study: StudyState) -> tuple[float | None, int | None]:
        """The lowest that a worker has: each counts what the whole study has spent. Read again after a resume."""
        at = study.opened.at
        if self._limits is None or self._limits[:2] != (study.study_id, at):
            usd, tokens = None, None
            with contextlib.suppress(SwarmError):
                usd, tokens = spend_limits(load_settings(layout.settings(study.study_id)))
            self._limits = (study.study_id, at, usd, tokens)
        return self._limits[2], self._limits[3]


def runs_here(layout: Layout, study_id: str) -> bool:
    """Whether the orchestrator of this study is alive in this repository."""
    running = holder(layout)
    return running is not None and running.study_id == study_id and orchestrator_runs(layout)


def spend_limits(settings: RunSettings) -> tuple[float | None, int | None]:
    """The study's limits in USD and in tokens; None where there is none."""
    chosen = settings.proposers.values()
    usd = [one.max_usd for one in chosen if one.max_usd is not None]
    tokens = [one.max_tokens for one in chosen if one.max_tokens is not None]
    return min(usd, default=None), min(tokens, default=None)


def layout_near(brain: Path) -> Layout | None:
    """The repository around a brain; None for a copy that lies in none."""
    try:
        return Layout(root=Repo.open(brain.absolute().parent).root)
    except RepoError:
        return None


def _waiting(ledger: AdmissionStatus | None, study_id: str) -> tuple[Waiting, ...]:
    return tuple(
        Waiting(
            trial_id=one_line(one.trial_id),
            agent_id=one_line(one.agent_id),
            memory_mib=one.memory_mib,
            waited_s=one.waited_s,
            reason=one_line(one.reason),
            starts_within_s=one.starts_within_s,
            elsewhere=one.study_id != study_id,
        )
        for one in (ledger.waiting if ledger is not None else ())
    )


def _cards(ledger: AdmissionStatus | None) -> tuple[Card, ...]:
    return tuple(
        Card(
            name=one_line(one.name),
            total_mib=one.total_mib,
            reserved_mib=one.committed_mib,
            foreign_mib=one.foreign_mib,
            room_mib=one.room_mib,
            fault=one_line(one.fault) if one.fault is not None else None,
        )
        for one in (ledger.devices if ledger is not None else ())
    )
