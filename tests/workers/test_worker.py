"""A worker beside a real repository and a real brain: what it prepares, rebases and writes down.

No trial runs here: the records of trials are appended as their runner would.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import pytest
from factories.bench import KEY, RATE, Bench, Counting, cited, faster, lighter
from factories.records import claim
from fakes.every_exception import raising
from fakes.fake_clock import FakeClock
from fakes.fake_llm import FakeLLM, Request, Stall, Step, envelope
from fakes.tiny_study import TRAIN, TinyStudy, make_tiny_study, write_script

from swarm import verdict
from swarm.admission import AdmissionController
from swarm.brain import read_records
from swarm.clock import SystemClock
from swarm.errors import DiskFull, Escaped, NoCardLeft, RepoError, StaleSnapshot, SwarmError, UsageError, contained
from swarm.records import FailReason, Operator, WorkerStatus
from swarm.repo import Repo
from swarm.study.settings import ProposerSettings
from swarm.verdict.merges import Merge, conflicts_open, merge_owed
from workers.dispatch import DIAGNOSIS, Propose
from workers.dispatch.stall import STALL
from workers.drafts import Sources
from workers.loop import work
from workers.proposers import ProposalFailed
from workers.worker import STUMBLES, Worker


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyStudy:
    study = make_tiny_study(tmp_path)
    monkeypatch.setenv("SWARM_GPU_DIR", str(study.ledger))
    study.root.joinpath(".swarm/studies/s").mkdir(parents=True)
    return study


@contextmanager
def bench(tiny: TinyStudy, *script: Step, **options: int) -> Iterator[Bench]:
    with FakeLLM(script) as server:
        yield Bench(tiny, server, **options)


PROPOSE = Propose(arm="llm", role="climber", seed=1)


def test_the_first_proposal_is_made_during_the_last_run_of_the_noise_floor(tiny: TinyStudy) -> None:
    with bench(tiny, faster) as on:
        on.worker.claim_baseline()
        on.worker.prepare_next()
        assert not on.background.busy and on.server.requests == []
        on.worker.claim_baseline()
        on.worker.prepare_next()
        on.draft()
        assert len(on.server.requests) == 1


def test_a_proposal_is_prepared_during_a_replicate_and_none_for_a_trial_that_will_not_be(tiny: TinyStudy) -> None:
    with bench(tiny, lighter, trials=5) as on:
        on.measure_noise()
        leader = on.another_worker_finds("MAX_LR = 0.05", "MAX_LR = 0.2")
        on.finish(on.worker.claim_replicate(leader), 1.0)
        assert len(on.study.trials) == 4 and verdict.replicates_owed(on.study)
        on.worker.prepare_next()
        on.draft()
        on.worker.claim_replicate(leader)
        on.background.take(0)
        on.worker.prepare_next()
        assert not on.background.busy and len(on.server.requests) == 1


def test_a_prepared_proposal_follows_the_incumbent_and_keeps_its_receipt(tiny: TinyStudy) -> None:
    with bench(tiny, lighter) as on:
        on.measure_noise()
        on.worker.prepare_next()
        draft = on.draft().leftover()
        assert draft is not None and draft.follows == "t0001"
        leader = on.another_worker_finds("MAX_LR = 0.05", "MAX_LR = 0.2")
        trial = on.worker.claim_proposal(PROPOSE)
        assert trial is not None
        claim = trial.claim
        assert (claim.parent, claim.constants_changed) == (leader, {"WEIGHT_DECAY": (1e-4, 1e-3)})
        assert (claim.read_seq, claim.briefing_sha256) == (draft.briefing.read_seq, draft.briefing.sha256)
        assert claim.briefing_tokens == pytest.approx(len(on.server.requests[0].prompt) / 4, abs=3)
        source = on.repo.read(on.repo.refs("s")[trial.trial_id], "models/tiny/train.py")
        assert "MAX_LR = 0.2" in source and "WEIGHT_DECAY = 1e-3" in source


def test_one_that_conflicts_with_the_new_incumbent_is_recorded_with_its_price(tiny: TinyStudy) -> None:
    with bench(tiny, faster) as on:
        on.measure_noise()
        on.worker.prepare_next()
        on.draft()
        leader = on.another_worker_finds("MAX_LR = 0.05", "MAX_LR = 0.2")
        assert on.worker.claim_proposal(PROPOSE) is None
        (refusal,) = on.study.rejections
        assert (refusal.code, refusal.arm) == ("conflict", "llm")
        assert f"made on t0001, and the incumbent is {leader} now" in refusal.detail
        assert refusal.usage is not None and refusal.usage.input_tokens == 1000


def test_a_repeat_is_recorded_with_the_trial_that_it_repeats(tiny: TinyStudy) -> None:
    with bench(tiny, lighter) as on:
        on.measure_noise()
        first = on.worker.claim_proposal(PROPOSE)
        assert first is not None
        on.finish(first, 2.5)
        on.background.start(PROPOSE)
        assert on.background.take(60) is None
        refusal = on.study.rejections[0]
        assert (refusal.code, refusal.repeats) == ("duplicate", first.trial_id)


def test_what_a_model_answered_for_nothing_is_recorded_at_the_end(tiny: TinyStudy) -> None:
    with bench(tiny, faster) as on:
        on.measure_noise()
        on.worker.proposing.clear()
        assert on.study.rejections == []
        on.worker.prepare_next()
        on.draft()
        on.worker.proposing.clear()
        (refusal,) = on.study.rejections
        assert refusal.code == "unused"
        assert refusal.usage is not None and refusal.usage.output_tokens == 200


def test_what_a_model_answered_before_the_study_ended_is_recorded_once(tiny: TinyStudy) -> None:
    may_answer = threading.Event()

    def late(request: Request) -> str:
        may_answer.wait(20)
        return "no edit either"

    with bench(tiny, "no edit at all", late) as on:
        on.measure_noise()
        on.worker.prepare_next()
        wait_until(lambda: len(on.server.requests) == 2)
        on.worker.proposing.clear()
        (refusal,) = on.study.rejections
        assert (refusal.code, refusal.arm, refusal.proposer) == ("llm_unfinished", "llm", "openai:fake")
        assert re.search(r"the study ended .*; answers: \(1\) [^(]+$", refusal.detail)
        assert refusal.usage is not None and refusal.usage.output_tokens == 200
        may_answer.set()
        wait_until(lambda: not on.background.busy)
        assert on.background.take(0) is None
        assert on.study.rejections == [refusal]


def test_nothing_is_recorded_of_a_call_that_was_never_answered(tiny: TinyStudy) -> None:
    with bench(tiny, Stall()) as on:
        on.measure_noise()
        on.worker.prepare_next()
        wait_until(lambda: len(on.server.requests) == 1)
        on.worker.proposing.clear()
        assert on.study.rejections == []


def wait_until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert reached()


def test_beside_a_model_that_answers_rubbish_the_policy_chooses_among_the_embedded_arms(tiny: TinyStudy) -> None:
    with bench(tiny, "no edit at all") as on:
        on.measure_noise()
        for _ in range(6):
            trial = on.worker.claim_proposal(PROPOSE)
            assert trial is not None
            on.finish(trial, 2.5)
        arms = [trial.claim.arm for trial in on.study.trials.values() if trial.claim.arm != "baseline"]
        assert {"model-based", "library"} <= set(arms), arms
        told = [refused for refused in on.study.rejections if refused.arm == "llm"]
        assert told and told[0].code == "llm_failed" and told[0].usage is not None, "what it cost is recorded"


def test_a_stall_writes_one_diagnosis_into_the_brain(tiny: TinyStudy) -> None:
    with bench(tiny, Counting()) as on:
        on.measure_noise()
        for number in range(STALL):
            trial = on.worker.claim_proposal(PROPOSE)
            assert trial is not None, number
            on.finish(trial, 2.5)
        for _ in range(2):
            assert isinstance(on.worker.next_assignment(), Propose)
        (note,) = on.study.notes
        assert (note.topic, note.agent_id) == (DIAGNOSIS, "worker_1")
        assert note.detail.startswith("5 proposals finished without a new leader.")


def test_no_trial_begins_without_room_on_the_disk(tiny: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    with bench(tiny, faster) as b:
        assert b.worker.may_start()
        monkeypatch.setattr("swarm.brain.room.free_mib", lambda folder: 1.0)
        with pytest.raises(DiskFull, match=r"1\.0 MiB are free"):
            b.worker.may_start()


def test_a_claim_whose_program_cannot_be_committed_is_ended_and_the_next_one_runs(
    tiny: TinyStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, full = Repo.commit_change, iter([OSError(28, "No space left on device"), SystemExit(3)])

    def commit(repo: Repo, *given: object) -> str:
        if (error := next(full, None)) is not None:
            raise error
        return honest(repo, *given)  # type: ignore[arg-type]

    with bench(tiny, Counting(), trials=6) as on:
        on.measure_noise()
        monkeypatch.setattr(Repo, "commit_change", commit)
        monkeypatch.setattr(on.worker, "run", lambda trial: on.finish(trial, 2.5))
        work(on.worker)
        endings = [trial.finished for trial in on.study.trials.values()]
        assert len(endings) == 6 and all(endings)
        broken = [ending.detail for ending in endings if ending is not None and ending.score is None]
        assert ["OSError: [Errno 28] No space" in detail or "SystemExit: 3" in detail for detail in broken] == [
            True
        ] * 2
        assert [record.status for record in read_records(tiny.brain) if isinstance(record, WorkerStatus)].count(
            "cooling"
        ) >= 2


def test_a_program_that_cannot_be_read_any_more_ends_its_replicate(
    tiny: TinyStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bench(tiny, Counting()) as on:
        on.measure_noise()
        first = on.worker.claim_proposal(PROPOSE)
        assert first is not None
        on.finish(first, 1.5)
        trial = on.worker.claim_replicate(first.trial_id)
        monkeypatch.setattr(Sources, "commit_of", raising(RepoError("git is gone")))
        escaped = contained(lambda: on.worker.run(trial))
        assert isinstance(escaped, Escaped)
        on.worker.stumbled(escaped)
        ending = on.study.trials[trial.trial_id].finished
        assert ending is not None and "RepoError: git is gone" in ending.detail


def test_a_worker_that_does_nothing_but_stumble_ends_with_a_clear_sentence(tiny: TinyStudy) -> None:
    with bench(tiny, Counting()) as on:
        worker = Worker(on.settings, "worker_1", FakeClock(), KEY)
        with pytest.raises(SwarmError, match=r"20 turns in a row broke, the last with ZeroDivisionError: x"):
            for _ in range(STUMBLES):
                worker.stumbled(Escaped(ZeroDivisionError("x")))


def test_a_worker_whose_arms_all_rest_waits_for_the_first_that_wakes(
    tiny: TinyStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bench(tiny, Counting()) as on:
        on.measure_noise()
        clock = FakeClock()
        alone = on.settings.model_copy(update={"proposers": {"worker_1": ProposerSettings(spec="tpe")}})
        worker = Worker(alone, "worker_1", clock, {})
        with monkeypatch.context() as broken:
            broken.setattr("workers.proposers.tpe.TpeProposer.propose", raising(MemoryError()))
            assert worker.claim_proposal(Propose(arm="tpe", role="climber", seed=1)) is None
        (refusal,) = on.study.rejections
        assert (refusal.code, refusal.arm, refusal.detail) == ("arm_failed", "tpe", "tpe broke: MemoryError")
        began = clock.monotonic()
        assert worker.proposing.arms() == ()
        assert worker.next_assignment() == replace(PROPOSE, arm="tpe", seed=ANY, role=ANY)
        assert 50 <= clock.monotonic() - began <= 62


class EndsAfterAnHour(FakeClock):
    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        assert self.monotonic() < 3600, "it waits on and on"


def test_a_search_whose_arms_have_nothing_new_ends_and_one_with_a_model_goes_on(
    tiny: TinyStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bench(tiny, Counting()) as on:
        on.measure_noise()
        clock = EndsAfterAnHour()
        alone = on.settings.model_copy(update={"proposers": {"worker_1": ProposerSettings(spec="tpe")}})
        worker = Worker(alone, "worker_1", clock, {})
        out = raising(ProposalFailed("search_exhausted", "all of it was tried"))
        monkeypatch.setattr("workers.proposers.tpe.TpeProposer.propose", out)
        worker.run = lambda trial: on.finish(trial, 2.0)  # type: ignore[method-assign] # of the finals
        work(worker)
        assert 30 <= clock.monotonic() <= 120
        on.worker.proposing._dry_turns, on.worker.proposing._dry_at = 100, len(on.study.finished_trials())
        assert not on.worker.proposing.is_dry(on.study)
        worker.proposing._dry_at -= 1  # something has ended since
        assert not worker.proposing.is_dry(on.study)


def test_what_breaks_in_the_thread_that_prepares_is_told_in_the_next_turn(
    tiny: TinyStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bench(tiny, Counting()) as on:
        on.measure_noise()
        with monkeypatch.context() as broken:
            broken.setattr("workers.drafts.compute_briefing", raising(SystemExit(9)))
            on.worker.prepare_next()
            wait_until(lambda: not on.background.busy)
        escaped = contained(lambda: on.worker.claim_proposal(PROPOSE))
        assert isinstance(escaped, Escaped) and escaped.text == "SystemExit: 9"
        assert on.worker.claim_proposal(PROPOSE) is not None


def test_a_script_of_bad_answers_is_gone_through_without_a_pause(tiny: TinyStudy, tmp_path: Path) -> None:
    lines = [{"description": f"bad {n}", "source": "\0" * n} for n in range(1, 30)]
    script = write_script(tmp_path / "s.jsonl", *lines, {"description": "good", "constants": {"MAX_LR": 0.2}})
    with bench(tiny, Counting()) as on:
        on.measure_noise()
        clock = FakeClock()
        alone = on.settings.model_copy(update={"proposers": {"worker_1": ProposerSettings(spec=f"scripted:{script}")}})
        worker = Worker(alone, "worker_1", clock, {})
        worker.run = lambda trial: on.finish(trial, 2.5)  # type: ignore[method-assign]
        work(worker)
        assert [trial.claim.description for trial in on.study.trials.values()][2:] == ["good"]
        codes = [refusal.code for refusal in on.study.rejections]
        assert set(codes[:-1]) == {"syntax"} and codes[-1] == "script_finished"
        assert clock.monotonic() == 0


def test_a_trial_that_took_its_worker_with_it_twice_is_ended_and_not_run_again(tiny: TinyStudy) -> None:
    with bench(tiny, faster) as on:
        trial = on.worker.claim_baseline()
        died = WorkerStatus(study_id="s", agent_id="worker_1", status="crashed")
        on.brain.append(died)
        assert [one.trial_id for one in on.worker.unfinished()] == [trial.trial_id]
        on.brain.append(died)
        for left in on.worker.unfinished():
            on.worker.settle(left)
        ending = on.study.trials[trial.trial_id].finished
        assert ending is not None and ending.reason is FailReason.ABANDONED
        assert ending.detail == "its worker died 2 times while it had this trial, so it is not run again"
        assert on.worker.unfinished() == []
        assert on.worker.claim_baseline().trial_id == "t0002", "it goes on with something else"


def beside_the_leader(on: Bench, old: str, new: str, loss: float = 1.5) -> str:
    """A change of the baseline by worker_2 that helped it and came too late to lead."""
    name = on.study.next_trial_id
    source = TRAIN.replace(old, new)
    on.repo.commit_change(on.settings.base_commit, {"models/tiny/train.py": source}, name, f"refs/swarm/s/{name}")
    on.brain.append(claim(name, study_id="s", agent_id="worker_2", proposer="tpe", arm="tpe"))
    on.finish(on.study.trials[name], loss)
    return name


def replicated(on: Bench) -> None:
    """The runs that the study owes, each with its program's first loss."""
    while owed := verdict.replicates_owed(on.study):
        costs = on.study.programs[owed[0]].costs
        on.finish(on.worker.claim_replicate(owed[0]), costs[0])


def owed_merge(on: Bench) -> Merge:
    merge = merge_owed(on.study)
    assert merge is not None
    return merge


class TestMerges:
    def test_what_two_workers_found_is_tried_in_one_program(self, tiny: TinyStudy) -> None:
        with bench(tiny) as on:
            on.measure_noise()
            leader = on.another_worker_finds("MAX_LR = 0.05", "MAX_LR = 0.2")
            other = beside_the_leader(on, "WEIGHT_DECAY = 1e-4", "WEIGHT_DECAY = 1e-3")
            replicated(on)
            assignment = on.worker.next_assignment()
            assert assignment == Merge(leader, other, "t0001")
            trial = on.worker.claim_merge(owed_merge(on))
            assert trial is not None
            found = trial.claim
            assert (found.operator, found.parent, found.merged) == (Operator.RECOMBINE, leader, (leader, other))
            assert (found.made_on, found.changed_under) == ("t0001", ())
            assert found.constants_changed == {"WEIGHT_DECAY": (1e-4, 1e-3)}
            source = on.repo.read(on.repo.refs("s")[trial.trial_id], "models/tiny/train.py")
            assert "MAX_LR = 0.2" in source and "WEIGHT_DECAY = 1e-3" in source
            assert merge_owed(on.study) is None

    def test_a_merge_under_which_a_function_changed_is_marked(self, tiny: TinyStudy) -> None:
        with bench(tiny) as on:
            on.measure_noise()
            on.another_worker_finds("        loss.backward()\n", "        (2 * loss).backward()\n")
            beside_the_leader(on, "    finish(model)\n", "    model.eval()\n    finish(model)\n")
            replicated(on)
            trial = on.worker.claim_merge(owed_merge(on))
            assert trial is not None and trial.claim.changed_under == ("main",)

    def test_a_conflict_is_recorded_and_becomes_a_task_for_a_model(self, tiny: TinyStudy) -> None:
        def both(request: Request) -> str:
            return envelope(RATE.replace("0.05", "0.2"), RATE.replace("0.05", "0.3"), cites=cited(request))

        with bench(tiny, both) as on:
            on.measure_noise()
            leader = on.another_worker_finds("MAX_LR = 0.05", "MAX_LR = 0.2")
            other = beside_the_leader(on, "MAX_LR = 0.05", "MAX_LR = 0.4")
            replicated(on)
            assert on.worker.claim_merge(owed_merge(on)) is None
            (refusal,) = on.study.rejections
            assert (refusal.code, refusal.merged) == ("merge_conflict", (leader, other))
            assert "MAX_LR = 0.4" in refusal.detail
            assignment = on.worker.next_assignment()
            assert isinstance(assignment, Propose) and assignment.conflict == Merge(leader, other, "t0001")
            on.background.start(assignment)
            on.draft()
            prompt = on.server.requests[0].prompt
            assert "touch the same lines" in prompt and "+MAX_LR = 0.4" in prompt and "-MAX_LR = 0.05" in prompt
            trial = on.worker.claim_proposal(assignment)
            assert trial is not None
            assert (trial.claim.operator, trial.claim.merged) == (Operator.RECOMBINE, (leader, other))
            assert conflicts_open(on.study) == []

    def test_a_merge_whose_incumbent_has_moved_is_looked_at_again(self, tiny: TinyStudy) -> None:
        with bench(tiny) as on:
            on.measure_noise()
            on.another_worker_finds("MAX_LR = 0.05", "MAX_LR = 0.2")
            beside_the_leader(on, "WEIGHT_DECAY = 1e-4", "WEIGHT_DECAY = 1e-3")
            stale = owed_merge(on)
            on.another_worker_finds("MAX_LR = 0.05", "MAX_LR = 0.3", loss=0.5)
            with pytest.raises(StaleSnapshot):
                on.worker.claim_merge(stale)

    def test_one_that_only_replays_a_script_merges_nothing(self, tiny: TinyStudy, tmp_path: Path) -> None:
        script = write_script(tmp_path / "script.jsonl", {"description": "d", "constants": {"MAX_LR": 0.1}})
        with bench(tiny) as on:
            chosen = ProposerSettings(spec=f"scripted:{script}")
            settings = on.settings.model_copy(update={"proposers": {"worker_1": chosen}})
            assert on.worker.proposing.may_merge
            assert not Worker(settings, "worker_1", SystemClock(), {}).proposing.may_merge


def test_a_draft_that_was_moved_says_where_it_was_made_and_what_changed_under_it(tiny: TinyStudy) -> None:
    step = "        optimizer.step()\n"

    def clipped(request: Request) -> str:
        return envelope(step, "        nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n" + step)

    with bench(tiny, clipped) as on:
        on.measure_noise()
        on.worker.prepare_next()
        on.draft()
        on.another_worker_finds("    finish(model)\n", "    model.eval()\n    finish(model)\n")
        trial = on.worker.claim_proposal(PROPOSE)
        assert trial is not None
        assert (trial.claim.made_on, trial.claim.changed_under) == ("t0001", ("main",))


def test_a_model_whose_draft_could_not_follow_is_told_why_and_asked_again(tiny: TinyStudy) -> None:
    def larger(request: Request) -> str:
        space = "  # search: {32, 64, 128}"
        return envelope(f"BATCH_SIZE = 64{space}", f"BATCH_SIZE = 128{space}", cites=cited(request))

    with bench(tiny, faster, lighter, larger) as on:
        on.measure_noise()
        on.worker.prepare_next()
        on.draft()
        leader = on.another_worker_finds("MAX_LR = 0.05", "MAX_LR = 0.2")
        assert on.worker.claim_proposal(PROPOSE) is None
        trial = on.worker.claim_proposal(PROPOSE)
        assert trial is not None and trial.claim.parent == leader
        first, second = on.server.requests
        assert "was refused" not in first.prompt and f"the incumbent is {leader} now" in second.prompt
        on.worker.prepare_next()
        on.draft()
        assert f"the incumbent is {leader} now" not in on.server.requests[-1].prompt


def test_without_a_card_left_a_worker_ends_with_the_message(tiny: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its exit code says that the next one would find the same: the orchestrator gives it up, and the study ends."""
    message = "no card is left: Fake 4090 (GPU-a) is lost"
    monkeypatch.setattr(AdmissionController, "require_card", raising(NoCardLeft(message)))
    with bench(tiny) as at, pytest.raises(NoCardLeft, match="no card is left"):
        work(at.worker)
    assert NoCardLeft.exit_code == UsageError.exit_code
