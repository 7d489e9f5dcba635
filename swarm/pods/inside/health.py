"""Whether the pod's watchdog lives and tells the state; for a container's health check.

python -m swarm.pods.inside.health          exit code 0 or 1
"""

import os
import sys
import time
from collections.abc import Mapping

from swarm.pods.inside.home import Home, number, read_json
from swarm.pods.inside.processes import alive
from swarm.pods.inside.told import home_of

FRESH_S = 60.0


def healthy(environment: Mapping[str, str], now: float) -> bool:
    home = Home(home_of(environment))
    told_at = number(read_json(home.state), "at")
    return alive(read_json(home.root / "watchdog.json"), "pid") and told_at is not None and now - told_at < FRESH_S


if __name__ == "__main__":
    sys.exit(0 if healthy(os.environ, time.time()) else 1)
