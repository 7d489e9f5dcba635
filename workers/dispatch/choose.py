"""The order of assignments: the noise floor, replicates that are owed, merges that are owed, then a proposal by an arm.

An arm is chosen, in this order:

1. a script, while there is one;
2. the follow-up pair: the next two children of an incumbent whose lead held over three seeds come from `climb`, which
   goes further in the direction that helped and then adds the best-known partner;
3. a finding of another swarm, where its remote has had less than a tenth of all trials;
4. an ablation of the incumbent's edits by `recombine`, every 15 proposals;
5. the arm that is furthest behind its share (`shares`) of all proposals; for a worker whose role the arm suits, it
   counts as one proposal further behind.

An arm that has just failed this worker, or was refused, waits until the worker has claimed a trial by another one.

A language model is asked first to mend a program of its own that crashed (once), then for what no three-way merge could
do: two good changes that touch the same lines.

After ten proposals without a new leader the jumper's arms build on the best other lineage, if there is one.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Sequence

from swarm import verdict
from swarm.sharing.publishing import ARM, within_share
from swarm.study.state import Program, StudyState
from swarm.verdict.merges import conflicts_open, merge_owed
from swarm.verdict.plateau import is_discarded, proposals, stalled_for
from swarm.verdict.replication import LEADER_SEEDS
from workers.dispatch.assignments import SCRIPTED, Assignment, BaselineReplicate, Propose, Replicate, Role, is_model
from workers.dispatch.mending import to_mend
from workers.dispatch.shares import arm_shares
from workers.dispatch.stall import RESTART, STALL, cooled_families, diagnose
from workers.proposers.recombine import ablation_due

FOLLOW_UPS = 2
FAMILY_SWITCH = 0.5  # how often a worker leaves a family after its discard
ON_THE_INCUMBENT = (SCRIPTED, "recombine")  # arms that have no use for another lineage to start from
SUITED: dict[Role, tuple[str, ...]] = {"climber": ("climb",), "jumper": ("library", "recombine")}


def choose(
    study: StudyState,
    *,
    agent_id: str,
    arms: Sequence[str],
    device_mib: int | None = None,
    merges: bool = False,
    replicates_owed: Callable[[StudyState], Sequence[str]] = verdict.replicates_owed,
) -> Assignment | None:
    """The next assignment of a free worker; None when no run is owed and there is no arm to propose with.

    `arms` are those that do not rest, `device_mib` the memory of the device if known; `merges` says whether this worker
    may put two changes into one program. Two workers that ask on the same
    state may get the same assignment: the claim settles who runs it.
    """
    if unclaimed_baselines(study) > 0:
        return BaselineReplicate()
    if owed := replicates_owed(study):
        return Replicate(owed[0])
    if merges and (merge := merge_owed(study)) is not None:
        return merge
    return next_proposal(study, agent_id=agent_id, arms=arms, device_mib=device_mib) if arms else None


def next_proposal(study: StudyState, *, agent_id: str, arms: Sequence[str], device_mib: int | None = None) -> Propose:
    """The proposal that this worker should make next, whatever is owed before it. `arms` may not be empty."""
    rng = random.Random(_seed(study, agent_id))
    role = _role(study, agent_id)
    repair = to_mend(study, agent_id, arms)
    arm = study.programs[repair].first.claim.arm if repair is not None else _arm(study, agent_id, role, arms)
    stalled = stalled_for(study)
    conflict = next(iter(conflicts_open(study)), None) if is_model(arm) and repair is None else None
    return Propose(
        arm=arm,
        role=role,
        seed=rng.getrandbits(31),
        cooled_families=_families_to_avoid(study, agent_id, rng),
        diagnosis=diagnose(study, device_mib) if stalled >= STALL else None,
        restart=stalled >= RESTART and role == "jumper" and arm not in ON_THE_INCUMBENT and not (conflict or repair),
        conflict=conflict,
        repair=repair,
    )


def proposals_are_near(study: StudyState) -> bool:
    """Whether a worker that has just claimed a run of the baseline may have to propose next.

    That is when the other workers alone could take the runs that nobody has claimed.
    """
    return unclaimed_baselines(study) < study.opened.workers


def unclaimed_baselines(study: StudyState) -> int:
    """Runs of the baseline that the noise floor still lacks; one that runs may count, one that failed does not."""
    runs = [run for run in study.baseline.trials if not run.claim.finals] if study.baseline is not None else []
    return study.opened.noise_replicates - sum(run.finished is None or run.cost is not None for run in runs)


def _seed(study: StudyState, agent_id: str) -> int:
    text = f"{study.opened.seed}/{agent_id}/{len(study.trials)}/{len(study.rejections)}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _role(study: StudyState, agent_id: str) -> Role:
    """Odd workers climb and even ones jump; they change places with each stall. One worker alone takes turns."""
    number = int("".join(filter(str.isdigit, agent_id)) or 1)
    turn = len(proposals(study)) if study.opened.workers == 1 else stalled_for(study) // STALL
    return "climber" if (number + turn) % 2 == 1 else "jumper"


def _arm(study: StudyState, agent_id: str, role: Role, arms: Sequence[str]) -> str:
    refused = _refused_arms(study, agent_id)
    if not _two_lineages(study):
        refused.add("recombine")
    own = [arm for arm in arms if not arm.startswith(ARM)]
    due = [arm for arm in arms if arm.startswith(ARM) and arm not in refused and within_share(study, arm)]
    if due and (not own or not (_follow_up_due(study) and "climb" in own)):
        return due[0]
    willing = [arm for arm in own if arm not in refused] or own or list(arms)
    if SCRIPTED in willing:
        return SCRIPTED
    if "climb" in willing and _follow_up_due(study):
        return "climb"
    if "recombine" in willing and _ablation_due(study):
        return "recombine"
    shares, spent = arm_shares(study, willing), _spent(study)
    total = sum(spent[arm] for arm in willing)
    return max(willing, key=lambda arm: shares[arm] * (total + 1) - spent[arm] + (arm in SUITED[role]))


def _refused_arms(study: StudyState, agent_id: str) -> set[str]:
    """Arms whose answers were refused since this worker's last claim."""
    claims = [trial.claim.seq for trial in study.trials.values() if trial.claim.agent_id == agent_id]
    since = max(claims, default=0)
    return {refusal.arm for refusal in study.rejections if refusal.agent_id == agent_id and refusal.seq > since}


def _follow_up_due(study: StudyState) -> bool:
    """Whether the incumbent's lead held over three seeds and it has had fewer than two children since."""
    incumbent = study.incumbent
    if incumbent is None or incumbent is study.baseline:
        return False
    own = (verdict for verdict in study.verdicts if verdict.program == incumbent.name)
    held_at = next((verdict.seq for verdict in own if verdict.leads and verdict.replicates >= LEADER_SEEDS), None)
    if held_at is None:
        return False
    children = [p for p in proposals(study) if p.parent == incumbent.name and p.first.claim.seq > held_at]
    return len(children) < FOLLOW_UPS


def _two_lineages(study: StudyState) -> bool:
    """Whether there is anything to combine: a leader, and a scored program beside its line that still stands."""
    line = set(study.lineage)
    others = [p for p in proposals(study) if p.name not in line and p.costs and not is_discarded(p)]
    return bool(line) and (len(line) >= 2 or bool(others))


def _ablation_due(study: StudyState) -> bool:
    operators = [program.first.claim.operator for program in proposals(study)]
    return len(study.lineage) >= 2 and ablation_due(operators)


def _spent(study: StudyState) -> Counter[str]:
    """Proposals by arm. A refused one counts too, or a dry arm would be asked for ever."""
    made = Counter(program.first.claim.arm for program in proposals(study))
    made.update(refusal.arm for refusal in study.rejections)
    return made


def _families_to_avoid(study: StudyState, agent_id: str, rng: random.Random) -> tuple[str, ...]:
    """Vetoed and cooled ones, and after a discard of this worker, half of the time, the family of that discard."""
    avoid = [*study.vetoes, *cooled_families(study)]
    last = _last_judged(study, agent_id)
    if last is not None and is_discarded(last) and rng.random() < FAMILY_SWITCH:
        avoid.append(last.first.claim.family)
    return tuple(dict.fromkeys(avoid))


def _last_judged(study: StudyState, agent_id: str) -> Program | None:
    own = [program for program in proposals(study) if program.first.claim.agent_id == agent_id]
    return next((program for program in reversed(own) if not program.open_trials), None)
