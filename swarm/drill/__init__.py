"""The promises of the README, tried on this machine: faults are injected into studies in a throw-away folder.

Each scene injects what can go wrong and yields one finding for each promise that it tries. What runs is the command
line itself, in processes of its own, as a person would have started it; only the record's scene calls the brain.
"""

from swarm.drill.finding import Finding
from swarm.drill.run import ALL, promises, run

__all__ = ["ALL", "Finding", "promises", "run"]
