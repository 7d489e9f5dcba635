"""Which proposers a worker gets for a specification, and which of them it may ask now."""

import json
import sys
from pathlib import Path

import pytest
from factories.briefings import PROGRAM, briefing
from factories.settings import run_settings
from factories.studies import FakeStudy
from fakes.every_exception import every_exception, raising
from fakes.fake_clock import FakeClock

from swarm.errors import BrainReplaced, UsageError
from swarm.records import Operator, Proposal, Usage
from swarm.study.options import UpOptions, check_options, check_proposer
from swarm.study.settings import ProposerSettings
from workers.arms import OWN_AGENTS, Arms, Surroundings, build_arms
from workers.briefing import Briefing
from workers.dispatch.assignments import LLM, SCRIPTED
from workers.proposers import ProposalFailed
from workers.redact import MARK

AGENT = Path(__file__).parents[1] / "fakes" / "fake_agents" / "agent.py"
KEY = "secret-key-of-the-user-0123456789"

EMBEDDED = ("model-based", "climb", "library", "recombine")


class Always:
    """A fake proposer: the same proposal, or the same failure, each time."""

    def __init__(self, name: str, failure: BaseException | None = None) -> None:
        self.name = name
        self.failure = failure

    def propose(self, briefing: Briefing) -> Proposal:
        if self.failure is not None:
            raise self.failure
        parent = briefing.incumbent.trial_id
        return Proposal(
            operator=Operator.TUNE, family="loss", description="x", parent=parent, source="", proposer=self.name
        )


@pytest.fixture(autouse=True)
def _no_server_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "SWARM_MODEL", OWN_AGENTS):
        monkeypatch.delenv(name, raising=False)


def arms_of(root: Path, proposer: ProposerSettings, *, study: FakeStudy | None = None, **secrets: str) -> Arms:
    fake = study or FakeStudy()
    return build_arms(
        Surroundings(
            settings=run_settings(root, proposers={"worker_1": proposer}),
            agent_id="worker_1",
            clock=FakeClock(),
            merge=lambda base, ours, theirs: ours,
            source_of=lambda name: PROGRAM,
            study=lambda: fake.study,
            secrets=secrets,
        )
    )


def fake_agent_file(root: Path) -> Path:
    """A table of the user's own for the stand-in agent."""
    command = [sys.executable, "-I", "-S", str(AGENT), "codex"]
    argv = ", ".join(f'"{word}"' for word in (*command, "{model...}", "-"))
    path = root / "agents.toml"
    path.write_text(
        f'[mine]\nargv = [{argv}]\nmodel = ["-m", "{{model}}"]\nprompt = "stdin"\noutput = "jsonl:codex"\n'
        'env = ["OPENAI_API_KEY"]\n'
    )
    return path


@pytest.mark.parametrize(
    ("spec", "secrets", "chosen"),
    [
        ("embedded", {}, EMBEDDED),
        ("auto", {}, EMBEDDED),
        ("auto", {"OPENAI_API_KEY": KEY}, (LLM, *EMBEDDED)),
        ("tpe", {"OPENAI_API_KEY": KEY}, ("tpe",)),
        ("model-based", {"OPENAI_API_KEY": KEY}, ("model-based",)),
        ("openai", {"OPENAI_API_KEY": KEY}, (LLM,)),
        ("cli:codex", {}, (LLM,)),
        ("cli:codex:gpt-x", {}, (LLM,)),
    ],
)
def test_each_specification_builds_what_it_says(tmp_path, spec, secrets, chosen):
    check_proposer(spec)
    arms = arms_of(tmp_path, ProposerSettings(spec=spec, model="m"), **secrets)
    assert arms.available() == chosen


def test_a_script_is_the_only_arm(tmp_path):
    script = tmp_path / "s.jsonl"
    script.write_text('{"description": "x", "constants": {"DEPTH": 4}}\n')
    check_proposer(f"scripted:{script}")
    arms = arms_of(tmp_path, ProposerSettings(spec=f"scripted:{script}"))
    assert (arms.available(), arms.at_once(SCRIPTED)) == ((SCRIPTED,), (SCRIPTED,))


def test_auto_takes_a_local_server_without_a_key(tmp_path):
    arms = arms_of(tmp_path, ProposerSettings(spec="auto", model="m", base_url="http://127.0.0.1:9/v1"))
    assert arms.available() == (LLM, *EMBEDDED)


def test_auto_needs_the_name_of_a_model_and_says_so_only_when_a_server_was_named(tmp_path, monkeypatch):
    assert arms_of(tmp_path, ProposerSettings(spec="auto"), OPENAI_API_KEY=KEY).available() == EMBEDDED
    with pytest.raises(UsageError, match="no model"):
        arms_of(tmp_path, ProposerSettings(spec="auto", base_url="http://127.0.0.1:9/v1"))
    monkeypatch.setenv("SWARM_MODEL", "m")
    assert arms_of(tmp_path, ProposerSettings(spec="auto"), OPENAI_API_KEY=KEY).available() == (LLM, *EMBEDDED)


@pytest.mark.parametrize(
    ("spec", "model", "label"),
    [
        ("openai", "gpt-x", "openai:gpt-x"),
        ("cli:codex", None, "cli:codex"),
        ("cli:codex:gpt-x", None, "cli:codex:gpt-x"),
        ("cli:codex", "gpt-y", "cli:codex:gpt-y"),
        ("cli:codex:gpt-x", "gpt-y", "cli:codex:gpt-x"),
    ],
)
def test_records_name_the_model(tmp_path, spec, model, label):
    arms = arms_of(tmp_path, ProposerSettings(spec=spec, model=model), OPENAI_API_KEY=KEY)
    assert arms.label(LLM) == label


def test_an_unknown_agent_is_named_with_those_that_exist(tmp_path):
    with pytest.raises(UsageError, match=r"no coding agent 'oracle'.*codex"):
        arms_of(tmp_path, ProposerSettings(spec="cli:oracle"))
    with pytest.raises(UsageError, match="cli:NAME"):
        check_proposer("cli:")


def test_a_coding_agent_proposes_from_its_own_folder_of_the_study(tmp_path, monkeypatch):
    monkeypatch.setenv(OWN_AGENTS, str(fake_agent_file(tmp_path)))
    arms = arms_of(tmp_path, ProposerSettings(spec="cli:mine:edit"), OPENAI_API_KEY=KEY)
    proposal = arms.propose(LLM, briefing())
    assert proposal.source == PROGRAM.replace("DEPTH = 3 ", "DEPTH = 4 ")
    assert proposal.proposer == "cli:mine:edit"
    study = tmp_path / ".swarm" / "studies" / "fake-study"
    assert KEY in (study / "agents" / "worker_1" / "home" / "seen.json").read_text(), "the agent has its key"
    transcripts = list((study / "llm" / "worker_1").iterdir())
    assert transcripts and all(KEY not in path.read_text() for path in transcripts)


@pytest.mark.parametrize(
    ("spec", "proposer"), [("openai", "openai:m"), ("cli:codex", "cli:codex:m"), ("openai", "cli:codex:m")]
)
def test_ceilings_count_what_the_study_has_spent_on_any_model(tmp_path, spec, proposer):
    study = FakeStudy()
    study.refuse(code="llm_failed")
    spent = Usage(model="m", input_tokens=900_000, output_tokens=0, usd=9.0)
    record = study.study.rejections[-1]
    study.write(record.model_copy(update={"proposer": proposer, "usage": spent, "id": "", "seq": 0}))
    chosen = ProposerSettings(spec=spec, model="m", max_usd=5.0, base_url="http://127.0.0.1:9/v1")
    arms = arms_of(tmp_path, chosen, study=study)
    with pytest.raises(ProposalFailed, match=r"9\.0000 USD are spent.*ceiling is 5") as failure:
        arms.propose(LLM, briefing())
    assert failure.value.code == "llm_budget"
    assert arms.available() == EMBEDDED, "out of money: the embedded arms keep the slot busy"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"price_in": 2.0}, "--price-in and --price-out belong together"),
        ({"price_in": 2.0, "price_out": -1.0}, "--price-out is -1"),
        ({"max_usd": -1.0}, "--max-usd is -1"),
    ],
)
def test_limits_that_would_limit_nothing_are_refused(options, said):
    with pytest.raises(UsageError, match=said):
        check_options(UpOptions(**options))
    check_options(UpOptions(price_in=2.0, price_out=0.0, max_usd=1.0))


def test_a_resting_arm_stands_aside_and_comes_back():
    clock = FakeClock()
    limited = ProposalFailed("llm_rate_limited", "later", cooldown_s=60.0)
    arms = Arms({LLM: Always("model", limited), "tpe": Always("tpe")}, (LLM,), clock)
    assert arms.available() == (LLM,)
    assert arms.at_once(LLM) == ("tpe",), "a language model is never waited for"
    with pytest.raises(ProposalFailed):
        arms.propose(LLM, briefing())
    assert arms.available() == ("tpe",)
    clock.advance(59.0)
    assert arms.available() == ("tpe",)
    clock.advance(1.0)
    assert arms.available() == (LLM,)


def test_a_failure_without_a_cool_down_leaves_the_arm_awake():
    arms = Arms({LLM: Always("model", ProposalFailed("llm_failed", "rubbish"))}, (LLM,), FakeClock())
    with pytest.raises(ProposalFailed):
        arms.propose(LLM, briefing())
    assert arms.available() == (LLM,)


def test_whatever_a_proposer_raises_is_a_failure_with_a_rest_that_ends():
    for error in every_exception():
        clock = FakeClock()
        arms = Arms({LLM: Always("model", error), "tpe": Always("tpe")}, (LLM,), clock)
        with pytest.raises(ProposalFailed) as caught:
            arms.propose(LLM, briefing())
        failure = caught.value
        assert failure.code == "arm_failed" and f"model broke: {type(error).__name__}" in failure.detail
        assert (failure.cooldown_s, arms.available(), arms.will_wake()) == (60.0, ("tpe",), True)
        clock.advance(failure.cooldown_s)
        assert (arms.available(), arms.will_wake()) == ((LLM,), False)


def test_an_arm_that_breaks_again_rests_longer_and_one_good_answer_forgives_it():
    clock, proposer = FakeClock(), Always("model", ZeroDivisionError("x"))
    arms = Arms({LLM: proposer}, (LLM,), clock)
    rests = []
    for _ in range(8):
        with pytest.raises(ProposalFailed) as caught:
            arms.propose(LLM, briefing())
        rests.append(caught.value.cooldown_s)
        clock.advance(rests[-1])
    assert rests == [60, 120, 240, 480, 960, 1800, 1800, 1800]
    proposer.failure = None
    arms.propose(LLM, briefing())
    proposer.failure = ZeroDivisionError("x")
    with pytest.raises(ProposalFailed) as caught:
        arms.propose(LLM, briefing())
    assert caught.value.cooldown_s == 60


def test_a_failure_of_the_brain_or_a_persons_word_is_no_failure_of_the_arm():
    for error in (BrainReplaced("gone"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            Arms({LLM: Always("model", error)}, (LLM,), FakeClock()).propose(LLM, briefing())


@pytest.mark.parametrize("answer", [None, "a text", 3, object(), b"x", {"operator": "tune"}])
def test_an_answer_that_is_no_proposal_is_a_failure_of_the_arm(answer):
    class Odd(Always):
        def propose(self, briefing):
            return answer

    with pytest.raises(ProposalFailed, match="ValidationError"):
        Arms({LLM: Odd("model")}, (LLM,), FakeClock()).propose(LLM, briefing())


def test_what_a_broken_proposer_has_spent_is_recorded_with_its_failure():
    class Dear(Always):
        def so_far(self):
            return ProposalFailed("llm_unfinished", "", usage=Usage(usd=0.5))

    class Mute(Always):
        def so_far(self):
            raise SystemExit(3)

    for proposer, usage in ((Dear("model", OSError(28, "full")), Usage(usd=0.5)), (Mute("model", OSError()), None)):
        with pytest.raises(ProposalFailed) as caught:
            Arms({LLM: proposer}, (LLM,), FakeClock()).propose(LLM, briefing())
        assert caught.value.usage == usage


@pytest.mark.parametrize(
    "spelled",
    [
        KEY,
        "".join(f"\\x{ord(char):02x}" for char in KEY),
        "".join(f"\\u{ord(char):04X}" for char in KEY),
        f'{KEY[:9]}" + "{KEY[9:]}',
        "\u200b".join(KEY),
    ],
)
def test_a_key_in_a_program_of_any_arm_is_taken_out(tmp_path, spelled):
    script = tmp_path / "s.jsonl"
    stolen = f'{PROGRAM}\nSTOLEN = "{spelled}"\n'
    line = {"description": f"it is {spelled}", "source": stolen, "family": spelled}
    script.write_text(json.dumps(line) + "\n")
    arms = arms_of(tmp_path, ProposerSettings(spec=f"scripted:{script}"), OPENAI_API_KEY=KEY)
    proposal = arms.propose(SCRIPTED, briefing())
    assert proposal.source == f'{PROGRAM}\nSTOLEN = "{MARK}"\n'
    assert (proposal.description, proposal.family) == (f"it is {MARK}", MARK)


def test_a_broken_proposer_does_not_tell_the_key(tmp_path, monkeypatch):
    arms = arms_of(tmp_path, ProposerSettings(spec="openai", model="m"), OPENAI_API_KEY=KEY)
    error = ValueError(f"illegal header {KEY!r} {KEY.encode().hex()}")
    monkeypatch.setattr("workers.proposers.openai_api.OpenAIProposer.propose", raising(error))
    with pytest.raises(ProposalFailed) as caught:
        arms.propose(LLM, briefing())
    assert KEY not in caught.value.detail and KEY.encode().hex() not in caught.value.detail


def test_arms_that_answer_at_once_begin_with_the_one_that_was_asked_for():
    arms = Arms({name: Always(name) for name in (LLM, *EMBEDDED)}, (LLM,), FakeClock())
    assert arms.at_once("library") == ("library", "model-based", "climb", "recombine")
    assert arms.at_once(LLM) == EMBEDDED


@pytest.mark.parametrize("walled", [True, False])
def test_a_worker_with_a_coding_agent_says_first_whether_it_has_no_wall(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, walled: bool
) -> None:
    monkeypatch.setattr("workers.arms.can_restrict_writing", lambda: walled)
    said = arms_of(tmp_path, ProposerSettings(spec="cli:codex")).announced()
    assert ("may write wherever its user may" in said) is not walled
    assert "wherever" not in arms_of(tmp_path, ProposerSettings(spec="embedded")).announced()
