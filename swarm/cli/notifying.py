"""`swarm up --notify` and `--on-event`: the sinks that a person named, and the study shown to them."""

import contextlib
import os
from collections.abc import Callable, Iterator

from swarm.clock import Clock
from swarm.errors import SwarmError
from swarm.notify.address import parse_address
from swarm.notify.delivery import Command, Sink, Webhook
from swarm.notify.notifier import Notifier
from swarm.orchestrator.opening import OpenStudy
from swarm.watch.readings import spend_limits

NOTIFY_VARIABLE = "SWARM_NOTIFY"

Look = Callable[[str | None], None]
"""Shows the study as it is, with what it waits for if it waits."""


def named_sinks(notify: str | None, on_event: str | None) -> tuple[Sink, ...]:
    """Raises UsageError. The variable leaves the environment here, so that no worker and no trial inherits it."""
    in_environment = os.environ.pop(NOTIFY_VARIABLE, None)
    address = notify or in_environment
    sinks: list[Sink] = [Webhook(parse_address(address))] if address else []
    return (*sinks, Command(on_event)) if on_event else tuple(sinks)


@contextlib.contextmanager
def notifying(sinks: tuple[Sink, ...], opened: OpenStudy, clock: Clock, say: Callable[[str], None]) -> Iterator[Look]:
    """While the block lasts, and for its last words. Nothing waits for a sink but the end of the block, a little."""
    if not sinks:
        yield lambda problem: None
        return
    settings = opened.settings
    max_usd, max_tokens = spend_limits(settings)
    notifier = Notifier(sinks, settings.layout.study(settings.study_id) / "told.json", clock, say)

    def look(problem: str | None) -> None:
        state = opened.brain.snapshot()
        if (study := state.study(settings.study_id)) is not None:
            notifier.look(study, state.seq, max_usd=max_usd, max_tokens=max_tokens, problem=problem)

    study = opened.brain.snapshot().study(settings.study_id)
    if study is not None:
        notifier.start(study)
    say(f"Events are told to {' and to '.join(sink.name for sink in sinks)}.")
    try:
        yield look
    finally:
        with contextlib.suppress(OSError, SwarmError):
            look(None)
        notifier.close()
