"""What runs in a pod: the entry script, and the watchdog that ends the pod whatever becomes of the study.

Standard library only, so that it runs on any machine that has Python 3.11 before anything is installed there. It
travels with the order: `start` gives a command that unpacks it and begins.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swarm.pods.inside.seed import Start
    from swarm.pods.order import StudyOrder


def start(order: "StudyOrder") -> "Start":
    """The command that a pod is to run for this order, and the environment that the command needs beside it."""
    from swarm.pods.inside.seed import start_of

    return start_of(order.model_dump_json())
