"""`python -m swarm.nodes.ray_launcher`: places one agent on each node of a Ray cluster, until its standard input ends.

A process of its own, since a Ray driver is aborted when its cluster's head is gone, and a study is not. Ray starts
agents and carries no order: it sees neither cards (`num_gpus=0`, so that the node's own ledger does) nor trials, its
retries are off, and whether a node is lost is for the exchange to say.
"""

import argparse
import os
import select
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarm.errors import Escaped, contained
from swarm.nodes.host import Address, read_address

if TYPE_CHECKING:
    from ray.actor import ActorHandle

NAMESPACE = "swarm"
LOOK_EVERY_S = 3.0
LAST_BEATS_S = 15.0  # for agents to hear that the study has ended
READY = "ready"
END = b"end"

ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",  # whoever reaches a port of a cluster without it runs code there
    "RAY_memory_monitor_refresh_ms": "0",  # it would kill trials for memory: admission does that, and by other rules
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # with no GPU of Ray's the agent still sees the machine's cards
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": "100",  # a machine that is busy takes longer than the 30 s of its own
}


class RayAgent:
    """The actor: an agent in a process of Ray's."""

    def run(self, address: str) -> None:
        import ray

        from swarm.clock import SystemClock
        from swarm.nodes.node import run_node

        said = contained(lambda: run_node(Address.model_validate_json(address), SystemClock(), print))
        print(said.text if isinstance(said, Escaped) else said, flush=True)
        ray.actor.exit_actor()


class Placing:
    """One agent for each node that lives and has none."""

    def __init__(self, address: Address, study_id: str) -> None:
        self._address = address
        self._study_id = study_id
        self._agents: dict[str, tuple[ActorHandle[Any], Any]] = {}

    def look(self) -> int:
        """Places what is missing; how many nodes have an agent."""
        import ray

        alive = {str(node["NodeID"]) for node in ray.nodes() if node["Alive"]}
        for node_id, (_, ended) in list(self._agents.items()):
            if node_id not in alive or (ended is not None and ray.wait([ended], timeout=0)[0]):
                del self._agents[node_id]
        for node_id in sorted(alive - self._agents.keys()):
            self._agents[node_id] = self._placed(node_id)
        return len(self._agents)

    def end(self) -> None:
        """Agents end by themselves when the exchange says so; what does not is killed."""
        import ray

        endings = [ended for _, ended in self._agents.values() if ended is not None]
        if endings:
            ray.wait(endings, num_returns=len(endings), timeout=LAST_BEATS_S)
        for agent, _ in self._agents.values():
            contained(lambda one=agent: ray.kill(one))  # type: ignore[misc]

    def _placed(self, node_id: str) -> "tuple[ActorHandle[Any], Any]":
        import ray

        name = f"{self._study_id}-{node_id[:16]}"
        found = contained(lambda: ray.get_actor(name, namespace=NAMESPACE))
        if not isinstance(found, Escaped):
            return found, None  # an earlier launcher's, which asks the same exchange
        agent = (
            ray.remote(RayAgent)
            .options(
                name=name,
                namespace=NAMESPACE,
                lifetime="detached",
                num_cpus=0,
                num_gpus=0,
                max_restarts=0,
                max_task_retries=0,
                label_selector={"ray.io/node-id": node_id},
            )
            .remote()
        )
        return agent, agent.run.remote(self._address.model_dump_json())


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m swarm.nodes.ray_launcher", description=__doc__)
    parser.add_argument("--exchange", type=Path, required=True, help="address.json of the study's exchange")
    parser.add_argument("--study", required=True)
    parser.add_argument("--ray", default="", help="HOST:PORT of a cluster; empty starts one on this machine")
    asked = parser.parse_args()
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if os.environ["RAY_AUTH_MODE"] != "token":
        print(f"RAY_AUTH_MODE is {os.environ['RAY_AUTH_MODE']}: a swarm's cluster needs token", file=sys.stderr)
        return 2
    import ray

    ray.init(
        address=asked.ray or "local",
        namespace=NAMESPACE,
        log_to_driver=False,
        logging_level="error",
        **({} if asked.ray else {"include_dashboard": False}),
    )
    placing = Placing(read_address(asked.exchange), asked.study)
    print(READY, placing.look(), flush=True)
    while (word := _word(LOOK_EVERY_S)) is None:
        placing.look()
    if word == END or not asked.ray:
        placing.end()
    ray.shutdown()
    return 0


def _word(limit_s: float) -> bytes | None:
    """What the driver says: None for nothing yet, END when the study is over, empty when it is gone."""
    began = time.monotonic()
    while (left := began + limit_s - time.monotonic()) > 0:
        if select.select([sys.stdin.fileno()], [], [], left)[0]:
            return os.read(sys.stdin.fileno(), 64).strip()
    return None


if __name__ == "__main__":
    sys.exit(main())
