"""How a model may be asked and may ask: several models, the repair of a crash, a look, a jump, and drafts that wait."""

import json
import re
from pathlib import Path

import pytest
from factories.bench import DECAY, KEY, RATE, Bench, cited, faster, lighter
from factories.records import claim, finished, started
from factories.settings import run_settings
from factories.studies import FakeStudy
from fakes.fake_clock import FakeClock
from fakes.fake_llm import FakeLLM, Request, envelope
from fakes.tiny_study import TRAIN, TinyStudy, make_tiny_study

from swarm.clock import SystemClock
from swarm.errors import MergeConflict, UsageError
from swarm.program import constants
from swarm.records import FailReason, Proposal
from swarm.study.model_server import split_specs
from swarm.study.options import UpOptions, check_options, check_proposer
from swarm.study.resuming import proposer_settings
from swarm.study.settings import ProposerSettings
from swarm.study.usage import total_usage, usages_of
from workers.arms import Arms, Surroundings, build_arms
from workers.briefing import Briefing
from workers.dispatch import Propose, next_proposal
from workers.dispatch.mending import to_mend
from workers.dispatch.shares import arm_shares
from workers.moving import moved
from workers.proposers import ProposalFailed
from workers.proposers.requests import Asked, request_in
from workers.proposers.requests import Request as Wish
from workers.worker import Worker

PROPOSE = Propose(arm="llm", role="climber", seed=1)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyStudy:
    study = make_tiny_study(tmp_path)
    monkeypatch.setenv("SWARM_GPU_DIR", str(study.ledger))
    study.root.joinpath(".swarm/studies/s").mkdir(parents=True)
    return study


def asks(**wish: str) -> str:
    return f"Let me see that first.\n```json\n{json.dumps(wish)}\n```"


class TestAsking:
    def test_a_look_shows_the_change_and_costs_no_turn(self, tiny: TinyStudy) -> None:
        with FakeLLM([asks(look="t0003"), lighter]) as server:
            on = Bench(tiny, server)
            on.measure_noise()
            on.another_worker_finds("MAX_LR = 0.05", "MAX_LR = 0.2", loss=1.9)
            trial = on.worker.claim_proposal(PROPOSE)
            on.background.take(60) if trial is None else None
            drafts = [request.prompt for request in server.requests]
        assert "Before you propose you may ask once" in drafts[0]
        assert "You asked to see a change. This is t0003:" in drafts[1]
        assert "+MAX_LR = 0.2" in drafts[1] and "-MAX_LR = 0.05" in drafts[1]
        assert "you may ask once" not in drafts[1] and "last turn" not in drafts[1]

    def test_both_calls_are_in_the_price_of_the_proposal(self, tiny: TinyStudy) -> None:
        with FakeLLM([asks(look="t0001"), faster]) as server:
            on = Bench(tiny, server)
            on.measure_noise()
            on.worker.prepare_next()
            draft = on.draft().leftover()
        assert draft is not None and draft.proposal.usage is not None
        assert (draft.proposal.usage.calls, draft.proposal.usage.input_tokens) == (2, 2000)

    def test_a_jump_gives_another_program_to_change(self, tiny: TinyStudy) -> None:
        def on_it(request: Request) -> str:
            return envelope("MAX_LR = 0.4 ", "MAX_LR = 0.3 ", cites=cited(request))

        with FakeLLM([asks(build_on="t0004"), on_it]) as server:
            on = Bench(tiny, server)
            on.measure_noise()
            on.another_worker_finds("MAX_LR = 0.05", "MAX_LR = 0.2", loss=1.0)
            name = on.study.next_trial_id
            source = TRAIN.replace("MAX_LR = 0.05", "MAX_LR = 0.4")
            on.repo.commit_change(
                on.settings.base_commit, {"models/tiny/train.py": source}, name, f"refs/swarm/s/{name}"
            )
            on.brain.append(claim(name, study_id="s", agent_id="worker_2", proposer="tpe", arm="tpe"))
            on.finish(on.study.trials[name], 1.9)
            on.background.start(PROPOSE)
            draft = on.draft().leftover()
        assert draft is not None
        assert (draft.proposal.parent, draft.follows) == (name, None)
        assert "MAX_LR = 0.3" in draft.proposal.source
        assert "The current program is the one that you asked for, t0004" in server.requests[1].prompt

    def test_who_asks_twice_has_proposed_nothing(self, tiny: TinyStudy) -> None:
        with FakeLLM([asks(look="t0001")]) as server:
            on = Bench(tiny, server)
            on.measure_noise()
            on.background.start(PROPOSE)
            assert on.background.take(60) is None
            (refusal,) = on.study.rejections
        assert refusal.code == "llm_failed" and len(server.requests) <= 5
        assert refusal.usage is not None and refusal.usage.calls == len(server.requests)

    def test_an_arm_that_only_ever_asks_is_heard_once(self, tiny: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
        heard = []

        def only_asks(_arms: Arms, _arm: str, briefing: Briefing) -> Proposal:
            heard.append(briefing.may_ask)
            if len(heard) > 5:
                raise ProposalFailed("llm_failed", "it would have gone on")
            raise Asked(Wish(look="t0001"), None)

        monkeypatch.setattr(Arms, "propose", only_asks)
        with FakeLLM([faster]) as server:
            on = Bench(tiny, server)
            on.measure_noise()
            on.background.start(PROPOSE)
            assert on.background.take(60) is None
        assert heard == [True, False]

    @pytest.mark.parametrize("name", ["t9999", "../../etc", "x" * 99])
    def test_what_nobody_knows_is_not_shown_and_the_model_goes_on(self, tiny: TinyStudy, name: str) -> None:
        with FakeLLM([asks(build_on=name), faster]) as server:
            on = Bench(tiny, server)
            on.measure_noise()
            on.worker.prepare_next()
            draft = on.draft().leftover()
        assert draft is not None and draft.proposal.parent == "t0001"

    @pytest.mark.parametrize(
        ("answer", "wish"),
        [
            (asks(look="t0007"), Wish(look="t0007")),
            ('{"build_on": "t0007"}', Wish(build_on="t0007")),
            (envelope("A", "B", look="t0007"), None),
            ('{"look": 7}', None),
            ("look at t0007", None),
            ("<<<<<<< SEARCH\nno end", None),
        ],
    )
    def test_a_request_is_an_answer_that_proposes_nothing(self, answer: str, wish: Wish | None) -> None:
        assert request_in(answer, "train.py") == wish


class TestMending:
    def crash(self, on: Bench) -> str:
        trial = on.worker.claim_proposal(PROPOSE)
        assert trial is not None
        name = trial.trial_id
        on.brain.append(
            started(name, study_id="s", commit=on.repo.refs("s")[name]),
            finished(
                name,
                None,
                study_id="s",
                reason=FailReason.CRASHED,
                detail="train.py line 9: boom()\nNameError: boom",
            ),
        )
        return name

    def test_a_crash_goes_back_to_its_author_once_with_what_it_said(self, tiny: TinyStudy) -> None:
        def mends(request: Request) -> str:
            return envelope(RATE.replace("0.05", "0.1"), RATE.replace("0.05", "0.07"), hypothesis="it was too high")

        with FakeLLM([faster, mends]) as server:
            on = Bench(tiny, server)
            on.measure_noise()
            on.background.start(PROPOSE)
            on.draft()
            crashed = self.crash(on)
            assignment = next_proposal(on.study, agent_id="worker_1", arms=("llm", "tpe"))
            assert (assignment.arm, assignment.repair) == ("llm", crashed)
            on.background.start(assignment)
            on.draft()
            mended = on.worker.claim_proposal(assignment)
        prompt = server.requests[1].prompt
        assert f"Your program {crashed} failed in its own code" in prompt and '"NameError: boom"' in prompt
        assert "MAX_LR = 0.1 " in prompt, "its own text is the program to change"
        assert mended is not None
        assert (mended.claim.repairs, mended.claim.parent) == (crashed, "t0001")
        assert mended.claim.constants_changed == {"MAX_LR": (0.05, 0.07)}, "judged against its parent"
        assert crashed in mended.claim.cites
        assert to_mend(on.study, "worker_1", ("llm",)) is None

    def test_a_repair_that_comes_to_nothing_is_not_asked_for_again(self, tiny: TinyStudy) -> None:
        with FakeLLM([faster, "I do not know."]) as server:
            on = Bench(tiny, server)
            on.measure_noise()
            on.background.start(PROPOSE)
            on.draft()
            crashed = self.crash(on)
            on.background.start(next_proposal(on.study, agent_id="worker_1", arms=("llm",)))
            assert on.background.take(60) is None
            assert [refusal.repairs for refusal in on.study.rejections] == [crashed]
            assert to_mend(on.study, "worker_1", ("llm",)) is None

    def test_only_its_author_only_its_own_code_and_only_for_a_while(self) -> None:
        fake = FakeStudy()
        fake.measure_noise()

        def crashed(reason: FailReason = FailReason.CRASHED, **fields: object) -> str:
            name = fake.claim(parent="t0001", **{"arm": "llm", "agent_id": "worker_1", **fields})
            fake.fail(name, reason)
            return name

        first = crashed()
        assert to_mend(fake.study, "worker_1", ("llm",)) == first
        assert to_mend(fake.study, "worker_2", ("llm",)) is None
        assert to_mend(fake.study, "worker_1", ("tpe",)) is None, "its arm rests"
        crashed(FailReason.OUT_OF_MEMORY)
        crashed(arm="climb")
        assert to_mend(fake.study, "worker_1", ("llm", "climb")) == first
        crashed(FailReason.TIMEOUT)
        assert to_mend(fake.study, "worker_1", ("llm", "climb")) is None


class TestKeptDrafts:
    def test_a_killed_worker_s_draft_becomes_a_trial_of_the_next_one(self, tiny: TinyStudy) -> None:
        with FakeLLM([lighter]) as server:
            on = Bench(tiny, server)
            on.measure_noise()
            on.worker.prepare_next()
            on.draft()
            again = Worker(on.settings, "worker_1", SystemClock(), KEY)  # as after a kill: nothing was cleared
            trial = again.claim_proposal(PROPOSE)
            assert trial is not None and trial.claim.constants_changed == {"WEIGHT_DECAY": (1e-4, 1e-3)}
            assert trial.claim.usage is not None and len(server.requests) == 1
            third = Worker(on.settings, "worker_1", SystemClock(), KEY)
            assert third.proposing.background.leftover() is None, "it is used once"

    def test_at_the_end_it_waits_for_a_study_that_goes_on_and_is_paid_once(self, tiny: TinyStudy) -> None:
        with FakeLLM([lighter]) as server:
            on = Bench(tiny, server)
            on.measure_noise()
            on.worker.prepare_next()
            on.draft()
            on.worker.proposing.clear()
            (refusal,) = on.study.rejections
            assert refusal.code == "unused" and "waits for one that goes on" in refusal.detail
            again = Worker(on.settings, "worker_1", SystemClock(), KEY)
            trial = again.claim_proposal(PROPOSE)
            assert trial is not None and trial.claim.proposer == "openai:fake"
            spent = total_usage(list(usages_of(on.study)))
            assert spent is not None and spent.calls == 1 and len(server.requests) == 1

    @pytest.mark.parametrize("text", ["", "{}", "no", '{"proposal": null}'])
    def test_a_file_that_is_none_costs_one_call(self, tiny: TinyStudy, text: str) -> None:
        with FakeLLM([lighter]) as server:
            on = Bench(tiny, server)
            path = tiny.root / ".swarm/studies/s/drafts/worker_1.json"
            path.parent.mkdir(parents=True)
            path.write_text(text)
            assert Worker(on.settings, "worker_1", SystemClock(), KEY).proposing.background.leftover() is None

    def test_one_that_was_claimed_already_is_refused_and_no_second_trial(self, tiny: TinyStudy) -> None:
        with FakeLLM([lighter]) as server:
            on = Bench(tiny, server)
            on.measure_noise()
            on.worker.prepare_next()
            on.draft()
            path = tiny.root / ".swarm/studies/s/drafts/worker_1.json"
            text = path.read_bytes()
            assert on.worker.claim_proposal(PROPOSE) is not None
            path.write_bytes(text)  # killed between the claim and the end of the file
            again = Worker(on.settings, "worker_1", SystemClock(), KEY)
            again.proposing.claim(PROPOSE)
            ours = [t for t in on.study.trials.values() if t.claim.constants_changed == {"WEIGHT_DECAY": (1e-4, 1e-3)}]
            assert len(ours) == 1
            assert on.study.rejections[0].code == "duplicate"


class TestSeveralModels:
    SPEC = "openai:a@http://127.0.0.1:9/v1,openai:b,c@http://127.0.0.1:8/v1,cli:codex:gpt"

    def test_they_are_named_with_commas(self) -> None:
        assert split_specs(self.SPEC) == [
            "openai:a@http://127.0.0.1:9/v1",
            "openai:b,c@http://127.0.0.1:8/v1",
            "cli:codex:gpt",
        ]
        check_proposer(self.SPEC)
        check_options(UpOptions(proposer=self.SPEC))
        with pytest.raises(UsageError):
            check_proposer("openai:a,cli:")
        assert split_specs("scripted:a,openai:b") == ["scripted:a,openai:b"]

    def test_each_is_an_arm_with_its_own_server_and_limits(self, tmp_path: Path) -> None:
        chosen = proposer_settings(self.SPEC, UpOptions(max_usd=2.0))
        assert [(one.spec, one.model, one.base_url) for one in (chosen, *chosen.others)] == [
            ("openai", "a", "http://127.0.0.1:9/v1"),
            ("openai", "b,c", "http://127.0.0.1:8/v1"),
            ("cli:codex:gpt", None, None),
        ]
        assert {one.max_usd for one in (chosen, *chosen.others)} == {2.0}
        settings = run_settings(tmp_path, study_id="s", proposers={"worker_1": chosen})
        around = Surroundings(settings, "worker_1", FakeClock(), max, str, lambda: FakeStudy().study, {})
        assert build_arms(around).available() == ("llm", "llm:openai:b,c", "llm:cli:codex:gpt")

    def test_their_shares_follow_what_they_gained(self) -> None:
        fake = FakeStudy()
        fake.measure_noise()
        arms = ("llm", "llm:openai:b", "tpe", "climb")
        shares = arm_shares(fake.study, arms)
        assert shares["llm"] == shares["llm:openai:b"] and sum(shares.values()) == pytest.approx(1)
        for number in range(12):
            good = number % 2 == 0
            fake.try_change(effect=-0.1 if good else 0.1, arm="llm:openai:b" if good else "llm")
        shares = arm_shares(fake.study, arms)
        assert shares["llm:openai:b"] > 2 * shares["llm"] > 0

    def test_both_are_asked_in_one_study(self, tiny: TinyStudy) -> None:
        with FakeLLM([lighter]) as first, FakeLLM([faster]) as second:
            on = Bench(tiny, first)
            other = ProposerSettings(spec="openai", model="other", base_url=second.url)
            had = on.settings.proposers["worker_1"]
            settings = on.settings.model_copy(
                update={"proposers": {"worker_1": had.model_copy(update={"others": (other,)})}}
            )
            on.worker = Worker(settings, "worker_1", SystemClock(), KEY)
            on.measure_noise()
            made = []
            for _ in range(2):
                assignment = next_proposal(on.study, agent_id="worker_1", arms=on.worker.proposing.arms())
                on.background.start(assignment)
                on.draft()
                trial = on.worker.claim_proposal(assignment)
                assert trial is not None
                on.finish(trial, 2.5)
                made.append((trial.claim.arm, trial.claim.proposer))
        assert sorted(made) == [("llm", "openai:fake"), ("llm:openai:other", "openai:other")]


class TestMoving:
    BASE = f"{RATE}\n{DECAY}\n\n\ndef main():\n    pass\n"

    def conflict(self, base: str, ours: str, theirs: str) -> str:
        raise MergeConflict("the same lines")

    def test_neighbouring_constants_are_moved_one_by_one(self) -> None:
        ours = constants.assign(self.BASE, {"WEIGHT_DECAY": 1e-3})
        theirs = constants.assign(self.BASE, {"MAX_LR": 0.1})
        merged = moved(self.BASE, ours, theirs, self.conflict)
        assert merged == constants.assign(ours, {"MAX_LR": 0.1})
        assert re.search(r"MAX_LR = 0\.1 .*\nWEIGHT_DECAY = 0?\.?0*1e?-?0?3?", merged)

    def test_the_same_constant_or_another_kind_of_change_is_a_conflict(self) -> None:
        ours = constants.assign(self.BASE, {"MAX_LR": 0.2})
        for theirs in (constants.assign(self.BASE, {"MAX_LR": 0.1}), self.BASE.replace("pass", "return")):
            with pytest.raises(MergeConflict):
                moved(self.BASE, ours, theirs, self.conflict)
