"""What a person's signals ask for."""

import os
import signal

from swarm.orchestrator.control import Control
from swarm.orchestrator.interrupts import Interrupts


def test_ctrl_c_once_drains_and_twice_stops_at_once() -> None:
    told: list[Control] = []
    with Interrupts(told.append) as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        assert (told, interrupts.at_once) == ([Control.DRAIN], False)
        os.kill(os.getpid(), signal.SIGINT)
        assert (told, interrupts.at_once) == ([Control.DRAIN, Control.NOW], True)


def test_a_sigterm_stops_at_once() -> None:
    told: list[Control] = []
    with Interrupts(told.append):
        os.kill(os.getpid(), signal.SIGTERM)
    assert told == [Control.NOW]
