"""The two ways to an end that a person may want sooner: what there is, home; or the pod, down."""

from swarm.pods.following import Follower
from swarm.pods.notes import ask_down
from swarm.pods.provider import PodState
from swarm.pods.reach import OutOfReach

SYNC_LIMIT_S = 900.0
DOWN_LIMIT_S = 900.0


def turned(follower: Follower) -> str | None:
    """One turn for a person who waits. Raises Refused: they had better mend it than wait."""
    reason = follower.turn()
    if follower.refused is not None:
        raise follower.refused
    return reason


def bring(follower: Follower, poll_s: float) -> str | None:
    """Collects once; a stopped pod is started for it, and followed until nothing of it costs any more.

    Gives why there is nothing left to do, None while the pod goes on.
    """
    clock, began, started = follower.renting.clock, follower.renting.clock.monotonic(), False
    while clock.monotonic() - began < SYNC_LIMIT_S:
        reason = turned(follower)
        pod = follower.pod
        if reason is not None and pod is not None and follower.open and pod.state is PodState.STOPPED and not started:
            follower.renting.say(f"Starting {pod.name} again for what is on its disk.")
            follower.start_for_results()
            started = True
        elif reason is not None or (follower.collected and not started):
            return reason
        clock.sleep(poll_s)
    return f"it could not be reached in {SYNC_LIMIT_S:g} s"


def take_down(follower: Follower, poll_s: float, *, now: bool) -> str:
    """Asks the pod for its end and follows it there; `now` brings home what there is and ends it."""
    clock, began, asked = follower.renting.clock, follower.renting.clock.monotonic(), False
    while (reason := turned(follower)) is None:
        pod = follower.pod
        if pod is not None and (now or clock.monotonic() - began > DOWN_LIMIT_S or pod.state is not PodState.RUNNING):
            return follower.finish("a person ended it")
        if not asked:
            asked = _ask(follower)
        clock.sleep(poll_s)
    return follower.finish("a person ended it") if follower.open else reason


def _ask(follower: Follower) -> bool:
    reach = follower.means.reach(follower.pod) if follower.pod is not None else None
    if reach is None:
        return False
    try:
        ask_down(reach)
    except OutOfReach:
        return False
    follower.renting.say("Asked it to end its running trials, to make the report and to end itself.")
    return True
