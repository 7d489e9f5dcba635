"""Coding agents as patch authors: stand-ins run as real processes and print each agent's real formats."""

import json
import os
import shlex
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest
from factories.briefings import PROGRAM, attempt, briefing
from fakes.fake_clock import FakeClock

from swarm.errors import UsageError
from swarm.program import several
from swarm.records import Operator, TargetTerms
from workers.proposers import ProposalFailed
from workers.proposers.breaker import Breaker
from workers.proposers.cli_agent import AgentSpec, CliAgentProposer, load_agents
from workers.proposers.cli_agent.output import read_output
from workers.proposers.cli_agent.workspace import MAX_STRAYS, make_home, open_workspace
from workers.proposers.edits import EditFailed
from workers.proposers.spending import Prices, SpendLimit

STANDIN = Path(__file__).parents[1] / "fakes" / "fake_agents" / "agent.py"
AGENTS = ("codex", "claude", "claude-login", "gemini", "agy", "opencode", "aider", "mini-swe-agent")
BINARIES = {"claude-login": "claude", "mini-swe-agent": "mini"}
KEY = "secret-key-of-the-user-0123456789"


class Bench:
    """A worker's scratch folder with stand-ins for all agents on its PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scratch = folder / "scratch"
        self.transcripts = folder / "llm"
        binaries = folder / "bin"
        binaries.mkdir()
        for agent in AGENTS:
            path = binaries / BINARIES.get(agent, agent)
            script = [sys.executable, "-I", "-S", str(STANDIN), path.name]
            path.write_text(f'#!/bin/sh\nexec {shlex.join(script)} "$@"\n')
            path.chmod(0o755)
        self.variables = {
            "PATH": f"{binaries}:{os.environ['PATH']}", "HOME": str(folder / "users_home"), "LANG": "C.UTF-8",
            "OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": KEY, "GEMINI_API_KEY": KEY, "RUNPOD_API_KEY": "never-this-one",
            "SSH_AUTH_SOCK": "/run/agent", "CUDA_VISIBLE_DEVICES": "0",
        }  # fmt: skip

    def proposer(self, agent: str = "codex", behaviour: str = "edit", **options: object) -> CliAgentProposer:
        defaults = {
            "scratch": self.scratch, "variables": self.variables, "model": behaviour, "clock": FakeClock(),
            "transcripts": self.transcripts, "grace_s": 0.2,
        }  # fmt: skip
        spec = options.pop("spec", None) or load_agents()[agent]
        return CliAgentProposer(agent, spec, **{**defaults, **options})  # type: ignore[arg-type]

    def failure(self, behaviour: str, agent: str = "codex", **options: object) -> ProposalFailed:
        with pytest.raises(ProposalFailed) as caught:
            self.proposer(agent, behaviour, **options).propose(briefing())
        return caught.value

    def home(self, name: str) -> object:
        return json.loads((self.scratch / "home" / name).read_text())

    def transcript(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(max(self.transcripts.iterdir()).read_text())
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


USAGE = {
    "codex": (24763, 122, None), "claude": (5104, 250, 0.0123), "claude-login": (5104, 250, 0.0123),
    "gemini": (600, 100, None), "opencode": (22174, 290, 0.014),
}  # fmt: skip


@pytest.mark.parametrize("agent", AGENTS)
def test_each_agent_is_started_as_its_table_says_and_its_edit_becomes_a_proposal(bench, agent):
    told = briefing((attempt("t0002", {"DROPOUT": 0.1}, loss=1.9),), nearest=("t0002",))
    proposal = bench.proposer(agent).propose(told)
    assert proposal.source == PROGRAM.replace("DEPTH = 3 ", "DEPTH = 4 ")
    assert (proposal.description, proposal.family) == ("deeper is better", "architecture")
    assert (proposal.operator, proposal.cites, proposal.expects) == (Operator.TUNE, ("t0002",), -0.05)
    assert proposal.proposer == f"cli:{agent}:edit"
    read, written, usd = USAGE.get(agent, (None, None, None))
    assert (proposal.usage.input_tokens, proposal.usage.output_tokens) == (read, written)
    assert usd is None or proposal.usage.usd == pytest.approx(usd)
    assert proposal.usage.seconds > 0

    seen = bench.home("seen.json")
    assert "Edit `train.py` in the current folder" in seen["prompt"] and '"id": "t0002"' in seen["prompt"]
    assert seen["files"] == ["train.py"]
    assert (seen["terminal"], seen["stdin_rest"]) == (False, "")
    assert not list(bench.scratch.glob("call-*"))


def test_traps_of_each_agent_are_in_its_arguments():
    agents = load_agents()
    assert set(agents) == set(AGENTS)
    values = {"prompt": "P {file}", "prompt_file": "F", "folder": "D", "file": "train.py", "home": "H", "model": "M"}
    lines = {name: shlex.join(spec.command(values)) for name, spec in agents.items()}
    assert lines["codex"].startswith("codex exec --json -s danger-full-access -C D --skip-git-repo-check")
    without = shlex.join(agents["codex"].command(values, walled=False))
    assert "-s workspace-write -c sandbox_workspace_write.exclude_slash_tmp=true" in without
    assert lines["codex"].endswith("-c shell_environment_policy.ignore_default_excludes=false -m M -")
    assert "--bare" in lines["claude"] and "--bare" not in lines["claude-login"]
    assert (
        "--tools Read,Edit,Grep --allowedTools 'Read,Edit(train.py),Grep' --permission-mode dontAsk" in lines["claude"]
    )
    assert "-p 'P {file}'" in lines["gemini"], "a value is not filled in again"
    assert "--message-file F" in lines["aider"] and "--no-auto-commits" in lines["aider"]
    assert (
        lines["opencode"].endswith("--title swarm --print-logs --log-level ERROR --dir D -m M")
        and agents["opencode"].prompt == "stdin"
    )
    assert "-c mini.yaml" in lines["mini-swe-agent"]
    assert "M" not in agents["codex"].command({**values, "model": ""})
    rules = json.loads(agents["opencode"].variables({}, values)["OPENCODE_CONFIG_CONTENT"])["permission"]
    assert list(rules["edit"].items()) == [("*", "deny"), ("*/train.py", "allow")] and rules["bash"] == "deny"


def test_the_environment_is_an_allow_list(bench):
    bench.proposer("codex").propose(briefing())
    env = bench.home("seen.json")["env"]
    assert env["CODEX_API_KEY"] == KEY
    assert (env["CUDA_VISIBLE_DEVICES"], env["HOME"], env["GIT_DIR"]) == ("", str(bench.scratch / "home"), "/dev/null")
    assert not {"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "RUNPOD_API_KEY", "SSH_AUTH_SOCK"} & env.keys()
    assert load_agents()["claude"].variables(bench.variables, {}) == {
        "ANTHROPIC_API_KEY": KEY,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "0",
    }


def test_sign_ins_are_copied_into_the_workers_home_and_back_where_they_were_renewed(bench):
    users = bench.folder / "users_home" / ".codex" / "auth.json"
    users.parent.mkdir(parents=True)
    users.write_text('{"token": "one"}')
    command = "cp $HOME/.codex/auth.json before; sed -i s/one/two/ $HOME/.codex/auth.json; rm before"
    edit = "sed -i 's/DEPTH = 3 /DEPTH = 4 /' train.py"
    spec = AgentSpec(argv=("sh", "-c", f"{command}; {edit}"), prompt="stdin", login=(".codex/auth.json", ".codex.json"))
    bench.proposer(spec=spec).propose(briefing())
    assert json.loads(users.read_text()) == {"token": "two"}
    assert not (bench.scratch / "home" / ".codex" / "auth.json").is_symlink()


def test_a_sign_in_that_the_person_renewed_meanwhile_is_left_alone(bench):
    users = bench.folder / "users_home" / ".codex" / "auth.json"
    users.parent.mkdir(parents=True)
    users.write_text("{}")
    home = make_home(bench.scratch, (".codex/auth.json",), bench.folder / "users_home")
    (home.folder / ".codex" / "auth.json").write_text('{"token": "agent"}')
    users.write_text('{"token": "person"}')
    home.give_back()
    assert json.loads(users.read_text()) == {"token": "person"}
    rubbish = make_home(bench.scratch, (".codex/auth.json",), bench.folder / "users_home")
    (rubbish.folder / ".codex" / "auth.json").write_text("no JSON")
    rubbish.give_back()
    assert json.loads(users.read_text()) == {"token": "person"}


class TestProcess:
    def test_a_hanging_agent_that_ignores_term_is_killed_and_its_edit_forgotten(self, bench):
        started = time.monotonic()
        failed = bench.failure("hang", deadline_s=0.5)
        assert "codex was stopped after 0.5 s" in failed.detail
        assert time.monotonic() - started < 5
        assert not list(bench.scratch.glob("call-*"))

    def test_one_that_asks_gets_no_answer_and_does_not_block(self, bench):
        assert bench.failure("ask").code == "no_change"

    def test_daemons_that_left_its_session_end_with_it(self, bench):
        bench.proposer("codex", "daemons").propose(briefing())
        pids = bench.home("pids.json")
        assert len(pids) == 2
        assert not any(running(pid) for pid in pids)
        assert bench.transcript()["left_over_processes"] == 2

    def test_endless_output_is_cut_off(self, bench, monkeypatch):
        monkeypatch.setattr("workers.proposers.cli_agent.process.MAX_OUTPUT_BYTES", 2_000_000)
        assert "printed too much" in bench.failure("flood", deadline_s=30).detail

    def test_it_ends_with_the_worker_that_started_it(self, bench):
        code = textwrap.dedent(f"""
            import sys; sys.path[:0] = {[str(Path(__file__).parents[n]) for n in (0, 1)]!r}
            from pathlib import Path
            from test_cli_agent import Bench, briefing
            Path({str(bench.folder / "sub")!r}).mkdir()
            Bench(Path({str(bench.folder / "sub")!r})).proposer("codex", "hang").propose(briefing())
        """)
        with subprocess.Popen([sys.executable, "-c", code]) as worker:
            try:
                wait_for((bench.folder / "sub" / "scratch" / "home" / "seen.json").exists)
                below = psutil.Process(worker.pid).children(recursive=True)
                agents = [process for process in below if "agent.py" in " ".join(process.cmdline())]
                assert agents
            finally:
                worker.kill()
        wait_for(lambda: not any(running(agent.pid) for agent in agents))

    def test_git_is_of_no_use_to_it(self, bench):
        subprocess.run(["git", "init", "-q", str(bench.folder)], check=True)
        proposal = bench.proposer("codex", "git").propose(briefing())
        assert 0 not in bench.home("git.json")
        assert proposal.source != PROGRAM
        assert not (bench.folder / ".git" / "refs" / "heads" / "master").exists()


def test_an_agent_for_whose_prompt_the_program_is_too_long_rests(bench):
    failed = bench.failure("edit", max_prompt_tokens=400)
    assert failed.code == "llm_config" and "Raise the limit" in failed.detail
    assert failed.cooldown_s >= 60, "it would be asked again at each trial"


def test_a_folder_of_any_depth_and_size_is_counted_and_gone(tmp_path):
    with open_workspace(tmp_path / "scratch", "train.py", PROGRAM) as workspace:
        here = os.open(workspace.folder, os.O_RDONLY)
        for _ in range(1500):
            os.mkdir("d" * 20, dir_fd=here)
            deeper = os.open("d" * 20, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = deeper
        os.close(here)
        assert len(workspace.strays()) <= 1
        for number in range(MAX_STRAYS + 100):
            (workspace.folder / f"{number}.py").touch()
        assert 0 < len(workspace.strays()) <= MAX_STRAYS
        assert workspace.read_back() == PROGRAM
    assert list((tmp_path / "scratch").iterdir()) == []


def test_links_in_a_circle_are_no_file(tmp_path):
    with open_workspace(tmp_path / "scratch", "models/train.py", PROGRAM) as workspace:
        folder = workspace.folder / "models"
        (folder / "train.py").unlink()
        folder.rmdir()
        folder.symlink_to("models")
        with pytest.raises(EditFailed, match="was replaced"):
            workspace.read_back()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_stray_files_are_counted_and_gone(bench):
    proposer = bench.proposer("gemini", "elsewhere")
    proposal = proposer.propose(briefing())
    assert proposal.source == PROGRAM.replace("DEPTH = 3 ", "DEPTH = 4 ")
    assert proposer.strays == 6
    locked = "locked/f" if os.geteuid() == 0 else "locked"  # closed to all but root
    assert bench.transcript()["stray_files"] == ["a/b/c.py", "empty", "link", locked, "notes.md", "pipe"]
    assert not list(bench.scratch.glob("call-*"))


@pytest.mark.parametrize(
    ("behaviour", "code", "reason"),
    [
        ("nothing", "no_change", "without editing train.py"),
        ("crash", "llm_failed", "exit code 3"),
        ("turns", "llm_failed", "exit code 53"),
        ("link", "llm_failed", "cannot be read back"),
        ("broken", "llm_failed", "not usable: line 1"),
        ("rate", "llm_rate_limited", "429 Too Many Requests"),
        ("auth", "llm_auth", "Invalid API key"),
    ],
)
def test_what_is_no_proposal_has_its_reason(bench, behaviour, code, reason):
    failed = bench.failure(behaviour, agent="claude" if behaviour == "auth" else "codex")
    assert (failed.code, reason in failed.detail) == (code, True), failed.detail
    assert failed.usage is not None


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda file: file.unlink(), "cannot be read back: No such file"),
        (lambda file: (file.unlink(), file.symlink_to("/etc/passwd")), "cannot be read back"),
        (lambda file: (file.unlink(), os.mkfifo(file)), "no plain file"),
        (lambda file: (file.unlink(), file.mkdir()), "no plain file"),
        (lambda file: file.write_bytes(b"\xff\xfe\x00"), "not UTF-8"),
        (lambda file: file.write_text("x = 1\n" * 100_000), "larger than 262144 bytes"),
        (lambda file: (file.parent.rename(file.parent.parent / "b"), file.parent.symlink_to("b")), "was replaced"),
    ],
)
def test_only_a_plain_file_in_its_old_place_is_read_back(tmp_path, damage, reason):
    with open_workspace(tmp_path, "sub/train.py", PROGRAM) as workspace:
        assert workspace.read_back() == PROGRAM
        damage(workspace.folder / "sub" / "train.py")
        with pytest.raises(EditFailed, match=reason):
            workspace.read_back()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("agent", ["codex", "claude", "gemini", "opencode"])
def test_rubbish_among_its_events_is_passed_over(bench, agent):
    assert bench.proposer(agent, "garbage").propose(briefing()).description == "deeper is better"


def test_an_agent_that_says_nothing_is_described_by_its_edit(bench):
    proposal = bench.proposer("codex", "silent").propose(briefing())
    assert (proposal.description, proposal.cites) == ("DEPTH 3 -> 4", ())


def test_a_missing_program_is_asked_for_again_after_a_rest(bench):
    clock = FakeClock()
    model = bench.proposer("codex", spec=AgentSpec(argv=("no-such-agent",), prompt="stdin"), clock=clock)
    for rest_s in (60, 120):
        with pytest.raises(ProposalFailed, match=r"no-such-agent cannot be started.*Install it") as caught:
            model.propose(briefing())
        assert (caught.value.code, caught.value.cooldown_s) == ("llm_config", rest_s)
        clock.advance(rest_s)


def test_one_that_keeps_failing_is_left_alone(bench):
    clock = FakeClock()
    model = bench.proposer("codex", "crash", breaker=Breaker(clock, failures=2), clock=clock)
    details = []
    for _ in range(4):
        with pytest.raises(ProposalFailed) as caught:
            model.propose(briefing())
        details.append("left alone" in caught.value.detail)
    assert details == [False] * 2 + [True] * 2


def test_ceilings_hold_before_it_is_started(bench):
    failed = bench.failure("edit", spend_limit=SpendLimit(max_tokens=1000))
    assert failed.code == "llm_budget"
    assert not bench.scratch.exists()
    model = bench.proposer("codex", spend_limit=SpendLimit(max_usd=0.03, prices=Prices(1, 1)))
    assert model.propose(briefing()).usage.usd == pytest.approx(0.024885)
    with pytest.raises(ProposalFailed, match="Raise --max-usd"):
        model.propose(briefing())


def test_its_key_is_in_no_transcript_and_no_proposal(bench):
    proposal = bench.proposer("codex", "leak").propose(briefing())
    assert "# [redacted]" in proposal.source
    text = "".join(path.read_text() for path in bench.transcripts.iterdir()) + proposal.model_dump_json()
    assert KEY not in text and "[redacted]" in text
    assert {stat.S_IMODE(path.stat().st_mode) for path in bench.transcripts.iterdir()} == {0o600}


def test_its_key_is_in_no_words_about_its_failure(bench):
    detail = bench.failure("tell").detail
    assert KEY not in detail and "HTTP 500 for the key ['[redacted]']" in detail


def test_agents_are_chosen_by_name(bench):
    chosen = CliAgentProposer.named("codex:gpt", secrets={}, environ={}, scratch=bench.scratch)
    assert chosen.name == "cli:codex:gpt"
    with pytest.raises(UsageError, match=r"no coding agent 'cursor'; there are: codex, claude"):
        CliAgentProposer.named("cursor", secrets={}, environ={}, scratch=bench.scratch)


class TestOwnTables:
    def write(self, tmp_path: Path, text: str) -> Path:
        path = tmp_path / "agents.toml"
        path.write_text(text)
        return path

    def test_another_agent_needs_a_table_and_no_code(self, bench, tmp_path):
        standin = json.dumps([sys.executable, "-I", "-S", str(STANDIN), "aider", "--message-file", "{prompt_file}"])
        path = self.write(
            tmp_path, f'[mine]\nargv = {standin}\nprompt = "file"\n[codex]\nargv = ["x"]\nprompt = "file"\n'
        )
        agents = load_agents(path)
        assert agents["codex"].argv == ("x",) and "claude" in agents
        proposal = bench.proposer("mine", spec=agents["mine"], model=None).propose(briefing())
        assert (proposal.proposer, proposal.description) == ("cli:mine", "deeper is better")

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ('[a]\nprompt = "file"', r"\[a\] argv: Field required"),
            ('[a]\nargv = ["a"]\nprompt = "file"\nshell = true', r"\[a\] shell: Extra inputs"),
            ('[a]\nargv = ["a"]\nprompt = "telepathy"', r"\[a\] prompt"),
            ("[a", "cannot be read"),
            ("a = 1", r"\[a\]"),
        ],
    )
    def test_a_wrong_table_names_the_file_and_the_key(self, tmp_path, text, reason):
        with pytest.raises(UsageError, match=reason):
            load_agents(self.write(tmp_path, text))


@pytest.mark.parametrize("kind", ["text", "jsonl:codex", "jsonl:claude", "jsonl:gemini", "jsonl:opencode"])
def test_any_text_can_be_read_as_any_format(kind):
    types = (
        "turn.completed",
        "turn.failed",
        "error",
        "item.completed",
        "result",
        "assistant",
        "message",
        "text",
        "system",
    )
    odd: tuple[object, ...] = (
        None,
        5,
        "x",
        [],
        [1],
        {"message": []},
        {"content": 7, "usage": 1, "tokens": [], "text": {}},
    )
    lines = [
        json.dumps({"type": t, "item": o, "usage": o, "error": o, "message": o, "part": o, "result": o})
        for t in types
        for o in odd
    ]
    output = read_output(kind, "\n".join(["", "{", "{}", *lines, '{"type":"result","total_cost_usd":NaN}']))
    assert output.usd is None and output.input_tokens is None


def running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition: object, limit_s: float = 30.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def test_an_agent_works_on_the_files_of_a_program_and_on_no_others(tmp_path: Path) -> None:
    terms = TargetTerms(grade="graded", editable=("*.py", "lib/*.py"), closed=("private",), max_files=3)
    program = several.joined({"fit.py": "A = 1\n", "lib/model.py": "B = 2\n"})
    with open_workspace(tmp_path / "scratch", "*.py, lib/*.py", program, terms) as workspace:
        assert workspace.read_back() == program and workspace.strays() == []
        (workspace.folder / "lib/model.py").write_text("B = 3\n")
        (workspace.folder / "lib/new.py").write_text("C = 4\n")
        (workspace.folder / "notes.md").write_text("mine")
        (workspace.folder / "private").mkdir()
        (workspace.folder / "private/true.py").write_text("x")
        edited = several.files_of(workspace.read_back(), "")
        assert edited == {"fit.py": "A = 1\n", "lib/model.py": "B = 3\n", "lib/new.py": "C = 4\n"}
        assert workspace.strays() == ["notes.md", "private/true.py"]
        (workspace.folder / "fit.py").unlink()
        (workspace.folder / "fit.py").symlink_to("/etc/passwd")
        with pytest.raises(EditFailed, match=r"fit\.py cannot be read back"):
            workspace.read_back()
        (workspace.folder / "fit.py").unlink()
        (workspace.folder / "more.py").write_text("D = 5\n")
        (workspace.folder / "evenmore.py").write_text("E = 5\n")
        with pytest.raises(EditFailed, match="4 files; 3 are allowed"):
            workspace.read_back()


def test_what_it_writes_outside_of_its_folder_and_home_comes_to_nothing(bench, tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_text("as it was")
    script = f"echo mine > {outside}; touch {tmp_path}/new.txt; mkdir {tmp_path}/folder"
    edit = "sed -i 's/DEPTH = 3 /DEPTH = 4 /' train.py"
    spec = AgentSpec(argv=("bash", "-c", f"{script}; {edit}"), prompt="stdin")
    proposal = bench.proposer(spec=spec).propose(briefing())
    assert "DEPTH = 4 " in proposal.source
    assert outside.read_text() == "as it was"
    assert not (tmp_path / "new.txt").exists() and not (tmp_path / "folder").exists()
