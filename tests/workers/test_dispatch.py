"""What a free worker does next, on studies written record by record."""

from collections import Counter

import pytest
from factories.records import claim, finished, started, study_opened

from swarm.records import (
    Decision,
    Note,
    ProposalRejected,
    Resources,
    VerdictReached,
)
from swarm.study.state import StudyState
from swarm.verdict.plateau import stalled_for
from workers.dispatch import (
    DIAGNOSIS,
    BaselineReplicate,
    Propose,
    Replicate,
    choose,
    diagnosis_due,
    next_proposal,
    proposals_are_near,
)
from workers.dispatch.choose import FOLLOW_UPS
from workers.dispatch.shares import EMBEDDED, FLOOR, arm_shares
from workers.dispatch.stall import COOLED_FOR, RESTART, STALL, cooled_families, diagnose

ARMS = ("model-based", "climb", "library", "recombine")


class Story:
    """Appends records to a study, one trial a minute."""

    def __init__(self, workers=2, baselines=2):
        self.seq = 0
        self.study = StudyState(study_opened(workers=workers))
        for _ in range(baselines):
            self.end(self.claim(operator="baseline", arm="baseline"), 2.0)

    def apply(self, record):
        self.seq += 1
        self.study.apply(record.model_copy(update={"seq": self.seq, "at": float(self.seq)}))

    def claim(
        self, *, agent="worker_1", operator="tune", arm="model-based", family="optimiser", parent="t0001", program=None
    ):
        trial_id = self.study.next_trial_id
        first = "t0001" if operator == "baseline" else trial_id
        self.apply(
            claim(
                trial_id,
                agent_id=agent,
                operator=operator,
                family=family,
                parent=None if operator == "baseline" else parent,
                program=program or first,
                proposer=arm,
                arm=arm,
            )
        )
        return trial_id

    def end(self, trial_id, loss=None, curve=(), peak_mib=None):
        self.apply(started(trial_id))
        self.apply(finished(trial_id, loss, curve=curve, resources=Resources(device="cpu", peak_mib=peak_mib)))

    def verdict(self, program, decision, delta, leads=False, level="none", replicates=1):
        self.apply(
            VerdictReached(
                trial_id=program,
                program=program,
                parent="t0001",
                decision=decision,
                level=level,
                leads=leads,
                probability=0.5,
                delta=delta,
                sigma=0.01,
                replicates=replicates,
                parent_replicates=2,
            )
        )

    def discard(self, **claim):
        trial_id = self.claim(**claim)
        self.end(trial_id, 2.1)
        self.verdict(trial_id, Decision.DISCARD, 0.1)
        return trial_id

    def lead(self, delta=-0.1, **claim):
        trial_id = self.claim(**claim)
        self.end(trial_id, 2.0 + delta)
        self.verdict(trial_id, Decision.INCONCLUSIVE, delta, leads=True, level="provisional")
        return trial_id

    def keep(self, **claim):
        trial_id = self.lead(**claim)
        self.verdict(trial_id, Decision.KEEP, -0.1, leads=True, level="confirmed")
        return trial_id

    def reject(self, arm, agent="worker_1"):
        self.apply(ProposalRejected(agent_id=agent, code="duplicate", detail="", proposer=arm, arm=arm))

    def next(self, agent="worker_1", arms=ARMS, owed=(), **more):
        return choose(self.study, agent_id=agent, arms=arms, replicates_owed=lambda _: owed, **more)


def test_the_noise_floor_comes_first_and_counts_what_runs():
    story = Story(baselines=1)
    assert story.next() == BaselineReplicate()
    running = story.claim(operator="baseline", arm="baseline")
    assert isinstance(story.next(agent="worker_2"), Propose)
    story.end(running)  # it crashed: another one is owed
    assert story.next() == BaselineReplicate()


def test_an_empty_study_begins_with_the_baseline():
    assert Story(baselines=0).next() == BaselineReplicate()


def test_replicates_that_are_owed_come_before_proposals():
    story = Story()
    assert story.next(owed=("t0007", "t0008")) == Replicate("t0007")
    assert isinstance(Story(baselines=1).next(owed=("t0007",)), BaselineReplicate)


def test_the_real_rule_asks_for_a_replicate_of_a_new_leader():
    story = Story()
    leader = story.lead()
    assert choose(story.study, agent_id="worker_1", arms=ARMS) in (Replicate(leader), Replicate("t0001"))


def test_without_an_arm_there_is_nothing_to_propose():
    assert Story().next(arms=()) is None
    assert Story().next(arms=(), owed=("t0007",)) == Replicate("t0007")


def test_the_first_proposal_is_prepared_when_the_others_can_finish_the_noise_floor():
    story = Story(workers=2, baselines=0)
    ready = []
    for _ in range(2):
        story.claim(operator="baseline", arm="baseline")
        ready.append(proposals_are_near(story.study))
    assert ready == [True, True]
    alone = Story(workers=1, baselines=0)
    alone.claim(operator="baseline", arm="baseline")
    assert not proposals_are_near(alone.study)
    alone.end("t0001")  # it crashed, so the next one is not the last
    alone.claim(operator="baseline", arm="baseline")
    assert not proposals_are_near(alone.study)


def test_a_proposal_can_be_prepared_while_replicates_are_owed():
    story = Story()
    story.lead()
    assert isinstance(choose(story.study, agent_id="worker_1", arms=ARMS), Replicate)
    assert isinstance(next_proposal(story.study, agent_id="worker_1", arms=ARMS), Propose)


def played(story, trials, arms=ARMS, agents=("worker_1", "worker_2")):
    """Let workers take turns, every proposal being discarded in a family of its own. Returns the roles' arms."""
    taken = {role: Counter() for role in ("climber", "jumper")}
    for number in range(trials):
        agent = agents[number % len(agents)]
        assignment = story.next(agent, arms)
        taken[assignment.role][assignment.arm] += 1
        story.discard(agent=agent, arm=assignment.arm, family=f"family_{number}")
    return taken


def test_arms_get_their_shares():
    taken = sum(played(Story(), 200).values(), Counter())
    total = sum(EMBEDDED.values())
    for arm, share in EMBEDDED.items():
        assert taken[arm] / 200 == pytest.approx(share / total, abs=0.06)


def test_with_a_language_model_it_gets_the_largest_share():
    arms = ("llm", *ARMS)
    taken = sum(played(Story(), 100, arms).values(), Counter())
    assert taken.most_common(1)[0][0] == "llm"
    assert min(taken[arm] for arm in arms if arm != "recombine") >= 3


def test_recombination_waits_for_something_to_combine():
    story = Story()
    assert sum(played(story, 60).values(), Counter())["recombine"] == 0
    for _ in range(2):
        story.lead()
    assert sum(played(story, 60).values(), Counter())["recombine"] > 0


def test_roles_differ_and_swap_on_a_stall():
    story = Story()
    assert (story.next("worker_1").role, story.next("worker_2").role) == ("climber", "jumper")
    for number in range(STALL):
        story.discard(family=f"family_{number}")
    assert (story.next("worker_1").role, story.next("worker_2").role) == ("jumper", "climber")


def test_one_worker_alone_takes_turns():
    story = Story(workers=1)
    first = story.next().role
    story.discard()
    assert {first, story.next().role} == {"climber", "jumper"}


def test_the_climber_climbs_and_the_jumper_jumps():
    taken = played(Story(), 100)
    assert taken["climber"]["climb"] > 2 * taken["climber"]["library"]
    assert taken["jumper"]["library"] > 2 * taken["jumper"]["climb"]


def test_an_arm_that_gains_gets_more_and_none_starves():
    story = Story()
    for number in range(12):
        story.lead(arm="library", family=f"family_{number}")
        story.discard(arm="model-based", family=f"other_{number}")
    shares = arm_shares(story.study, ARMS)
    before = arm_shares(Story().study, ARMS)
    assert shares["library"] > 1.5 * before["library"]
    assert shares["model-based"] < before["model-based"]
    assert min(shares[arm] for arm in ("model-based", "climb", "library")) >= 0.8 * FLOOR
    assert sum(shares.values()) == pytest.approx(1)
    for number in range(100):
        story.discard(arm="model-based", family=f"more_{number}")
    assert arm_shares(story.study, ARMS)["model-based"] >= 0.8 * FLOOR


def test_a_refused_arm_waits_for_the_next_claim():
    story = Story()
    first = story.next().arm
    story.reject(first)
    assert story.next().arm != first
    assert story.next("worker_2").arm is not None
    for arm in ARMS:
        story.reject(arm)
    assert story.next().arm in ARMS
    story.claim()
    assert story.next().arm in ARMS


def test_an_arm_that_never_answers_is_asked_for_its_share_and_no_more():
    story = Story()
    asked = Counter()
    for number in range(100):
        assignment = story.next(arms=("llm", *ARMS))
        asked[assignment.arm] += 1
        if assignment.arm == "llm":
            story.reject("llm")
        else:
            story.discard(arm=assignment.arm, family=f"family_{number}")
    assert 20 <= asked["llm"] <= 40


def test_a_script_goes_first_until_it_is_refused():
    story = Story()
    assert story.next(arms=("scripted", *ARMS)).arm == "scripted"
    story.reject("scripted")
    assert story.next(arms=("scripted", *ARMS)).arm != "scripted"
    assert story.next(arms=("scripted",)).arm == "scripted"


def test_a_lead_that_held_gets_its_follow_up_pair():
    story = Story()
    leader = story.lead()
    story.discard(parent=leader, arm="climb", family="loss")
    assert story.next("worker_2").arm != "climb"
    story.verdict(leader, Decision.INCONCLUSIVE, -0.1, leads=True, level="provisional", replicates=3)
    for _ in range(FOLLOW_UPS):
        assert story.next("worker_2").arm == "climb"
        story.claim(parent=leader, arm="climb", agent="worker_2")
    assert story.next("worker_2").arm != "climb"


def test_the_incumbent_is_ablated_every_fifteen_proposals():
    story = Story()
    first = story.lead()
    second = story.lead(parent=first)
    for number in range(15):
        story.discard(parent=second, family=f"family_{number}")
    assert story.next().arm == "recombine"
    story.discard(operator="ablate", arm="recombine")
    assert story.next().arm != "recombine"


def test_three_discards_cool_a_family_for_five_trials():
    story = Story()
    for _ in range(2):
        story.discard(family="loss")
    assert cooled_families(story.study) == ()
    story.end(story.claim(family="loss"))  # a crash counts as well
    assert cooled_families(story.study) == ("loss",)
    assert "loss" in story.next().cooled_families
    for number in range(COOLED_FOR):
        assert "loss" in cooled_families(story.study)
        story.discard(family=f"family_{number}")
    assert cooled_families(story.study) == ()


def test_a_success_warms_a_family_up():
    story = Story()
    for _ in range(2):
        story.discard(family="loss")
    story.lead(family="loss")
    story.discard(family="loss")
    assert cooled_families(story.study) == ()


def test_after_a_discard_the_family_changes_about_half_of_the_time():
    avoided = 0
    story = Story()
    for number in range(60):
        story.discard(family=f"family_{number}")
        avoided += f"family_{number}" in story.next().cooled_families
    assert 18 <= avoided <= 42


def test_a_stall_gets_a_diagnosis_that_a_new_leader_ends():
    story = Story()
    for number in range(STALL):
        assert story.next().diagnosis is None
        story.discard(family=f"family_{number}")
    assert stalled_for(story.study) == STALL
    assert story.next().diagnosis.startswith("5 proposals finished without a new leader")
    story.keep()
    assert stalled_for(story.study) == 0
    assert story.next().diagnosis is None


def test_a_diagnosis_is_written_once_for_every_five_proposals():
    story = Story()
    written = []
    for number in range(2 * STALL + 1):
        if diagnosis_due(story.study):
            written.append(number)
            story.apply(Note(topic=DIAGNOSIS, description="flat"))
            assert not diagnosis_due(story.study)
        story.discard(family=f"family_{number}")
    assert written == [STALL, 2 * STALL]
    story.keep()
    for number in range(STALL - 1):
        story.discard(family=f"more_{number}")
    assert not diagnosis_due(story.study)


def test_the_jumper_leaves_the_incumbent_after_ten_proposals_without_a_keep():
    story = Story()
    for number in range(RESTART):
        assert not any(story.next(agent).restart for agent in ("worker_1", "worker_2"))
        story.discard(family=f"family_{number}")
    assignments = [story.next(agent) for agent in ("worker_1", "worker_2")]
    assert {assignment.role: assignment.restart for assignment in assignments} == {"climber": False, "jumper": True}
    for arm in ("climb", "model-based", "library", "llm"):
        assert story.next("worker_2", (arm,)).restart
    for arm in ("recombine", "scripted"):
        assert not story.next("worker_2", (arm,)).restart
    story.keep()
    assert not any(story.next(agent).restart for agent in ("worker_1", "worker_2"))


def curve(*losses):
    return tuple((index / (len(losses) - 1), loss) for index, loss in enumerate(losses))


def test_the_diagnosis_reads_gap_slope_and_memory():
    story = Story()
    flat = curve(*[1.0] * 31)
    leader = story.claim()
    story.end(leader, 1.9, curve=flat, peak_mib=3000)
    story.verdict(leader, Decision.INCONCLUSIVE, -0.1, leads=True, level="provisional")
    text = diagnose(story.study, device_mib=24000)
    assert "overfits" in text and "regularisation" in text
    assert "3000 of 24000 MiB" in text
    assert "still fell" not in text
    falling = story.claim()
    story.end(falling, 1.0, curve=curve(*[3.0 - index / 15 for index in range(31)]), peak_mib=20000)
    story.verdict(falling, Decision.INCONCLUSIVE, -0.9, leads=True, level="provisional")
    text = diagnose(story.study, device_mib=24000)
    assert "still fell" in text and "schedule" in text
    assert "overfits" not in text and "MiB" not in text


def test_all_workers_agree_and_seeds_differ():
    story = Story()
    assert story.next("worker_1") == story.next("worker_1")
    assert story.next("worker_1").seed != story.next("worker_2").seed
