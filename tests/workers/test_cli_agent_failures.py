"""What the real agents print when they fail, as they were recorded, and what it is called."""

import json
import time
from pathlib import Path

import pytest
from factories.briefings import briefing
from fakes.fake_clock import FakeClock

from workers.proposers import ProposalFailed
from workers.proposers.cli_agent import AgentSpec, CliAgentProposer, load_agents
from workers.proposers.cli_agent.failures import failure_of
from workers.proposers.cli_agent.guard import Report
from workers.proposers.cli_agent.output import read_output

ENDED, LATE = Report("exit", 1, 2.0, 0), Report("deadline", -15, 60.0, 0)
RETRY = {"type": "system", "subtype": "api_retry", "attempt": 1, "error_status": 429, "error": "rate_limit"}
CLAUDE_401 = {
    "type": "result", "subtype": "success", "is_error": True, "api_error_status": 401,
    "result": "Failed to authenticate. API Error: 401 Invalid API key", "total_cost_usd": 0, "usage": {},
}  # fmt: skip
CODEX_429 = {"type": "turn.failed", "error": {"message": "exceeded retry limit, last status: 429 Too Many Requests"}}
CODEX_401 = {"type": "turn.failed", "error": {"message": "unexpected status 401 Unauthorized: no, url: http://x/v1"}}
OPENCODE = {"type": "error", "error": {"name": "APIError", "data": {"message": "Invalid API key", "statusCode": 401}}}
AIDER_429 = """Added train.py to the chat.

litellm.RateLimitError: RateLimitError: OpenAIException - Rate limit reached
The API provider has rate limited you. Try again later or check your quotas.
Retrying in 0.2 seconds...
"""


def lines(*events: object) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


@pytest.mark.parametrize(
    ("kind", "report", "stdout", "stderr", "code"),
    [
        ("jsonl:claude", ENDED, lines(CLAUDE_401), "", "llm_auth"),
        ("jsonl:claude", LATE, lines(RETRY), "", "llm_rate_limited"),
        ("jsonl:claude", LATE, lines(RETRY, {"type": "assistant", "message": {}}), "", "llm_timeout"),
        ("jsonl:claude", ENDED, "", "error: unknown option '--permission-prompts'", "llm_config"),
        ("jsonl:codex", ENDED, lines(CODEX_429), "", "llm_rate_limited"),
        ("jsonl:codex", ENDED, lines(CODEX_401), "", "llm_auth"),
        ("jsonl:codex", Report("exit", 2, 1.0, 0), "", "error: unexpected argument '--ephemeral' found", "llm_config"),
        ("jsonl:opencode", ENDED, lines(OPENCODE), "", "llm_auth"),
        ("jsonl:gemini", Report("exit", 41, 1.0, 0), "", "Please set an Auth method", "llm_auth"),
        ("jsonl:gemini", Report("exit", 173, 1.0, 0), "", "[API Error: wait]", "llm_rate_limited"),
        ("jsonl:gemini", Report("exit", 145, 1.0, 0), "", "[API Error: no]", "llm_auth"),
        ("jsonl:gemini", Report("exit", 53, 1.0, 0), "", "turn limit", "llm_failed"),
        ("text:aider", Report("exit", 0, 9.0, 0), AIDER_429, "", "llm_rate_limited"),
        ("text:aider", LATE, AIDER_429, "", "llm_rate_limited"),
        (
            "text:aider",
            Report("exit", 0, 9.0, 0),
            "litellm.AuthenticationError: AuthenticationError: OpenAIException - Invalid API \nkey",
            "",
            "llm_auth",
        ),
        (
            "text:aider",
            Report("exit", 0, 9.0, 0),
            "litellm.BadRequestError: LLM Provider NOT provided. Pass in the LLM provider",
            "",
            "llm_config",
        ),
        (
            "jsonl:opencode",
            Report("retrying", -15, 9.0, 0),
            "",
            'message="stream error" error.error="AI_APICallError: Rate limit reached, try again later"',
            "llm_rate_limited",
        ),
        ("text", LATE, "quota reached, wait", "", "llm_timeout"),
        ("text", ENDED, "", "HTTP 500", "llm_failed"),
        ("text", Report("too_much_output", -9, 9.0, 0), "429", "", "llm_failed"),
    ],
)
def test_a_failure_has_the_class_that_its_agent_names(
    kind: str, report: Report, stdout: str, stderr: str, code: str
) -> None:
    failure = failure_of(kind, report, read_output(kind, stdout), stderr, 60.0)
    assert failure is not None
    assert failure.code == code


@pytest.mark.parametrize("after", ["Tokens: 1.0k sent, 200 received.\n", "Applied edit to train.py\n"])
def test_an_agent_that_went_on_after_a_refusal_has_not_failed(after: str) -> None:
    report = Report("exit", 0, 9.0, 0)
    assert failure_of("text:aider", report, read_output("text:aider", AIDER_429 + after), "", 60.0) is None


def test_a_status_in_its_words_about_the_program_is_none_of_its_server() -> None:
    said = {"type": "result", "is_error": True, "api_error_status": None, "result": "I changed 429 lines", "usage": {}}
    failure = failure_of("jsonl:claude", ENDED, read_output("jsonl:claude", lines(RETRY, said)), "", 60.0)
    assert failure is not None and "429 lines" in failure.reason


def test_the_message_of_a_failure_is_kept_and_the_frames_of_its_stack_are_not() -> None:
    stack = "".join(f"    at async frame{number} (file:///bundle/chunk.js:{number})\n" for number in range(60))
    failure = failure_of("text", ENDED, read_output("text", ""), f"Error: no such model\n{stack}", 60.0)
    assert failure is not None and failure.reason == "ended with exit code 1: Error: no such model"


TOOL = {"type": "tool_use", "name": "Edit", "id": "t1", "input": {"file_path": "/repo/x.py"}}
DENIED = {
    "jsonl:claude": lines(
        {"type": "assistant", "message": {"content": [TOOL]}},
        {"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": "t1", "is_error": True}]}},
    ),
    "jsonl:codex": lines(
        {
            "type": "item.completed",
            "item": {"type": "file_change", "status": "failed", "changes": [{"path": "/repo/x.py"}]},
        }
    ),
    "jsonl:gemini": lines(
        {"type": "tool_use", "tool_name": "replace", "tool_id": "r1", "parameters": {"file_path": "/repo/x.py"}},
        {"type": "tool_result", "tool_id": "r1", "status": "error", "output": "denied"},
    ),
    "jsonl:opencode": lines(
        {
            "type": "tool_use",
            "part": {"tool": "edit", "state": {"status": "error", "input": {"filePath": "/repo/x.py"}}},
        }
    ),
    "text:aider": "Unable to write file /repo/\nx.py after 5 \nattempts: [Errno 13] Permission denied\n",
}  # fmt: skip


@pytest.mark.parametrize("kind", DENIED)
def test_a_file_that_it_was_kept_from_writing_is_known(kind: str) -> None:
    assert read_output(kind, DENIED[kind]).denied == ["/repo/x.py"]


class Idle:
    """An agent that does what `script` says, as often as it is asked."""

    def __init__(self, tmp_path: Path, script: str, output: str = "text", gives_up: str = "") -> None:
        self.clock = FakeClock()
        table = {"argv": ["sh", "-c", script], "prompt": "stdin", "output": output, "gives_up": gives_up}
        spec = AgentSpec.model_validate(table)
        variables = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        self.proposer = CliAgentProposer(
            "idle", spec, scratch=tmp_path / "scratch", variables=variables, clock=self.clock, grace_s=0.2
        )

    def failure(self) -> ProposalFailed:
        with pytest.raises(ProposalFailed) as caught:
            self.proposer.propose(briefing())
        return caught.value


def test_after_three_calls_without_a_change_it_rests_and_is_asked_again(tmp_path: Path) -> None:
    agent = Idle(tmp_path, "true")
    assert [agent.failure().cooldown_s for _ in range(3)] == [0, 0, 300]
    resting = agent.failure()
    assert (resting.code, resting.usage) == ("no_change", None), "it was started while it rests"
    agent.clock.advance(300)
    again = agent.failure()
    assert again.usage is not None and again.cooldown_s == 600


def test_an_edit_in_between_ends_the_count(tmp_path: Path) -> None:
    agent = Idle(tmp_path, "test -e $HOME/edit && sed -i 's/DEPTH = 3 /DEPTH = 4 /' train.py; true")
    edit = tmp_path / "scratch/home/edit"
    assert [agent.failure().cooldown_s for _ in range(2)] == [0, 0]
    edit.touch()
    assert "DEPTH = 4 " in agent.proposer.propose(briefing()).source
    edit.unlink()
    assert [agent.failure().cooldown_s for _ in range(2)] == [0, 0]


def test_an_attempt_to_write_elsewhere_has_a_name_of_its_own(tmp_path: Path) -> None:
    agent = Idle(tmp_path, f"echo 'Unable to write file {tmp_path}/x.py after 5 attempts: denied'", "text:aider")
    failed = agent.failure()
    assert failed.code == "outside_write" and f"{tmp_path}/x.py" in failed.detail
    inside = Idle(tmp_path, "echo 'Unable to write file train.py after 5 attempts: denied'", "text:aider")
    assert inside.failure().code == "no_change"


def test_one_that_asks_a_server_again_and_again_is_not_waited_for(tmp_path: Path) -> None:
    said = "litellm.RateLimitError: no\\nRetrying in"
    agent = Idle(
        tmp_path, f"printf '{said} 2.0 s'; printf '\\n{said} 4.0 s'; sleep 60", "text:aider", "Retrying in [4-9]"
    )
    started = time.monotonic()
    failed = agent.failure()
    assert time.monotonic() - started < 30
    assert failed.code == "llm_rate_limited" and "kept asking" in failed.detail


class TestSelfHosted:
    def command(self, agent: str, url: str | None) -> tuple[list[str], dict[str, str]]:
        variables = {"OPENAI_API_KEY": "a-key-of-nobody", **({"OPENAI_BASE_URL": url} if url else {})}
        spec = load_agents()[agent]
        values = {"model": "small", "file": "train.py", "base_url": spec.base_url(variables)}
        return spec.here(variables).command(values), spec.here(variables).variables(variables, values)

    def test_codex_gets_a_provider_of_its_own(self) -> None:
        command, _ = self.command("codex", "http://127.0.0.1:8123/v1")
        assert any('base_url="http://127.0.0.1:8123/v1"' in part and 'wire_api="responses"' in part for part in command)
        assert not any("model_provider" in part for part in self.command("codex", None)[0])

    def test_opencode_and_aider_are_told_where_their_model_is(self) -> None:
        command, variables = self.command("opencode", "http://127.0.0.1:8123/v1")
        provider = json.loads(variables["OPENCODE_CONFIG_CONTENT"])["provider"]["own"]
        assert "own/small" in command and provider["options"]["baseURL"] == "http://127.0.0.1:8123/v1"
        assert provider["models"] == {"small": {}}
        command, variables = self.command("aider", "http://127.0.0.1:8123/v1")
        assert "openai/small" in command and variables["OPENAI_API_BASE"] == "http://127.0.0.1:8123/v1"
        command, variables = self.command("aider", None)
        assert "small" in command and "OPENAI_API_BASE" not in variables

    def test_gemini_signs_in_with_the_key_that_it_has(self) -> None:
        gemini = load_agents()["gemini"]
        assert gemini.variables({"GOOGLE_API_KEY": "k"}, {})["GEMINI_API_KEY"] == "k"
        own = gemini.here({"GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:8123"})
        assert "selectedType" in own.files[".gemini/settings.json"]
        assert "selectedType" not in gemini.files[".gemini/settings.json"], "a project of Google's signs in otherwise"

    def test_an_agent_that_would_choose_a_model_by_itself_is_not_started_without_one(self, tmp_path: Path) -> None:
        for agent in ("aider", "opencode"):
            proposer = CliAgentProposer(
                agent, load_agents()[agent], scratch=tmp_path, variables={"PATH": ""}, clock=FakeClock()
            )
            with pytest.raises(ProposalFailed, match=f"cli:{agent}:MODEL") as caught:
                proposer.propose(briefing())
            assert caught.value.code == "llm_config"


def test_what_an_agent_finds_in_its_home_is_written_anew(tmp_path: Path) -> None:
    spec = AgentSpec(
        argv=("sh", "-c", "cat $HOME/.a/settings >> $HOME/seen; ln -sf /etc/passwd $HOME/.a/settings"),
        prompt="stdin",
        files={".a/settings": "for {file} "},
    )
    proposer = CliAgentProposer(
        "a", spec, scratch=tmp_path, variables={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}, clock=FakeClock()
    )
    for _ in range(2):
        with pytest.raises(ProposalFailed):
            proposer.propose(briefing())
    assert (tmp_path / "home/seen").read_text() == "for train.py for train.py "
