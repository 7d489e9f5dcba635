"""What a simulation is asked for."""

from swarm.admission.simulator.policies import PolicyName
from swarm.admission.simulator.report import SimulationReport
from swarm.admission.simulator.run import Simulation
from swarm.admission.simulator.tally import Setup
from swarm.admission.simulator.workload import Workload
from swarm.errors import UsageError
from swarm.gpu.reading import Attribution


def simulate(
    cards: int = 1,
    workers: int = 2,
    jobs: int = 1000,
    seed: int = 0,
    *,
    policy: PolicyName = "swarm",
    workload: Workload | None = None,
    foreign_surge_mib: int | None = None,
    attribution: Attribution = Attribution.MATCHED,
    lost_at_s: float | None = None,
) -> SimulationReport:
    """Run `jobs` trials of `workers` workers on `cards` equal cards (24,564 MiB).

    `lost_at_s`: then the first of several cards is lost for good, and what ran on it hangs. Only with the policy
    `swarm`: the others would wait for it for ever.
    `foreign_surge_mib`: most that other people's processes grow by at once; default is half the headroom, more than
    the headroom breaks the policy's premise. Invariants are checked on up to 8 cards.
    """
    if lost_at_s is not None and (cards < 2 or policy != "swarm"):
        raise UsageError("a card can be lost where there is another, and with the policy swarm")
    load = workload or Workload()
    setup = Setup(cards, workers, jobs, seed, policy, load, foreign_surge_mib, attribution, lost_at_s)
    return Simulation(setup).run()
