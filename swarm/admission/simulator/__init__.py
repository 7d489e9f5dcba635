"""A seeded simulation of cards, workers and trials on a virtual clock: it tests the policy, and it plans.

    report = simulate(cards=1, workers=2, jobs=1000, seed=0)

The same seed gives the same log, byte for byte.
"""

from swarm.admission.simulator.entry import simulate
from swarm.admission.simulator.policies import POLICIES, PolicyName
from swarm.admission.simulator.report import SimulationReport, Violation
from swarm.admission.simulator.workload import Peaks, Workload

__all__ = ["POLICIES", "Peaks", "PolicyName", "SimulationReport", "Violation", "Workload", "simulate"]
