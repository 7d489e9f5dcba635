"""A stand-in for the coding agents: `agent.py CLI ARGUMENTS...` takes the real arguments and prints the real formats.

What it does is chosen by the model's name (edit, hang, ask, ...), which every agent's table can pass on. What it saw is
left in HOME/seen.json for the test.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HEADER = {
    "hypothesis": "deeper is better", "family": "architecture", "operator": "tune", "cites": ["t0002"],
    "expects": -0.05,
}  # fmt: skip
MESSAGE = f"I changed DEPTH.\n\n```json\n{json.dumps(HEADER)}\n```"


def main() -> None:
    cli, arguments = sys.argv[1], sys.argv[2:]
    behaviour = option(arguments, "-m", "--model") or "edit"
    prompt = read_prompt(cli, arguments)
    seen = {
        "argv": arguments, "env": dict(os.environ), "cwd": str(Path.cwd()), "prompt": prompt,
        "files": [path.name for path in Path().iterdir()], "terminal": has_terminal(), "stdin_rest": sys.stdin.read(),
    }  # fmt: skip
    Path(os.environ["HOME"], "seen.json").write_text(json.dumps(seen))
    (BEHAVIOURS.get(behaviour) or edit)()
    speak(cli, behaviour)
    codes = {"crash": 3, "turns": 53, "rate": 1, "auth": 1}
    sys.stdout.flush()
    os._exit(codes.get(behaviour, 0))


def edit() -> None:
    source = Path("train.py").read_text()
    Path("train.py").write_text(source.replace("DEPTH = 3 ", "DEPTH = 4 "))


def hang() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    edit()
    time.sleep(600)


def ask() -> None:
    """Asks as an interactive program would: on the terminal, and else on stdin."""
    print("Allow edit of train.py? [y/N]", flush=True)
    answer = sys.stdin.readline()
    assert answer == "", "somebody answered"
    try:
        with Path("/dev/tty").open() as terminal:
            terminal.readline()
    except OSError:
        return


def elsewhere() -> None:
    edit()
    Path("notes.md").write_text("stray")
    Path("a/b").mkdir(parents=True)
    Path("a/b/c.py").write_text("stray")
    Path("empty").mkdir()
    Path("link").symlink_to("/etc/passwd")
    os.mkfifo("pipe")
    Path("locked").mkdir()
    Path("locked/f").write_text("x")
    Path("locked").chmod(0)


def run_git() -> None:
    edit()
    outer = os.environ["GIT_CEILING_DIRECTORIES"]
    commands = [["init"], ["add", "-A"], ["commit", "-m", "mine"], ["-C", outer, "status"], ["push"]]
    codes = [subprocess.run(["git", *c], capture_output=True, check=False).returncode for c in commands]
    Path(os.environ["HOME"], "git.json").write_text(json.dumps(codes))


def leave_daemons() -> None:
    """One in its own session, one in the agent's group; both ignore TERM, and their parents have ended."""
    edit()
    pids = []
    for variant in ("setsid", "stubborn"):
        read, write = os.pipe()
        if os.fork() == 0:
            if variant == "setsid":
                os.setsid()
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                os.environ.clear()
                os.write(write, str(os.getpid()).encode())
                os.close(write)
                for _ in range(600):
                    time.sleep(1)
                os._exit(0)
            os._exit(0)
        os.close(write)
        pids.append(int(os.read(read, 20)))
        os.wait()
    Path(os.environ["HOME"], "pids.json").write_text(json.dumps(pids))


def flood() -> None:
    chunk = "x" * 1_000_000
    while True:
        sys.stdout.write(chunk)


def replace_by_link() -> None:
    Path("train.py").unlink()
    Path("train.py").symlink_to("/etc/passwd")


BEHAVIOURS = {
    "edit": edit,
    "hang": hang,
    "ask": ask,
    "nothing": lambda: None,
    "elsewhere": elsewhere,
    "git": run_git,
    "daemons": leave_daemons,
    "flood": flood,
    "link": replace_by_link,
    "broken": lambda: Path("train.py").write_text("def main(:\n"),
    "leak": lambda: Path("train.py").write_text(
        Path("train.py").read_text() + "".join(f"# {v}\n" for k, v in os.environ.items() if "KEY" in k)
    ),
}


def read_prompt(cli: str, arguments: list[str]) -> str:
    if cli in ("codex", "claude", "opencode"):
        return sys.stdin.read()
    if cli == "aider":
        return Path(option(arguments, "--message-file") or "").read_text()
    return option(arguments, "-p", "-t") or ""


def speak(cli: str, behaviour: str) -> None:
    """The formats of codex 0.169, claude 2.1, gemini 0.61, opencode 1.18; the others print text."""
    failed = {"rate": "429 Too Many Requests", "auth": "Invalid API key · Please run /login"}.get(behaviour)
    message = "" if behaviour == "silent" else MESSAGE
    keys = [value for name, value in os.environ.items() if "KEY" in name]
    if behaviour == "leak":
        message = f"my key is {keys}"
    if behaviour == "tell":
        failed = f"HTTP 500 for the key {keys}"
    if behaviour == "garbage":
        sys.stdout.write('\x00\xff{"type": "result", \n[1, 2]\n"x"\n{"type": 5}\n{"item": 3}\n' + "[" * 5000 + "\n")
    events = {"codex": codex, "claude": claude, "gemini": gemini, "opencode": opencode}.get(cli)
    if events is None:
        print(f"{cli} v1.0\n{failed or message}\nTokens: 2k sent, 300 received.")
        return
    for event in events(message, failed):
        print(json.dumps(event))
    if behaviour == "garbage":
        sys.stdout.write('{"type": "item.comp')


def codex(message: str, failed: str | None) -> list[dict]:
    events: list[dict] = [
        {"type": "thread.started", "thread_id": "0199a213-81c0-7800-8aa1-bbab2a035a53"},
        {"type": "turn.started"},
        {"type": "error", "message": "Reconnecting... 1/5"},
        {"type": "item.completed", "item": {"id": "item_0", "type": "reasoning", "text": "**Thinking**"}},
        {
            "type": "item.completed",
            "item": {"id": "item_1", "type": "file_change", "changes": [], "status": "completed"},
        },
    ]
    if failed:
        return [*events, {"type": "turn.failed", "error": {"message": failed}}]
    usage = {"input_tokens": 24763, "cached_input_tokens": 24448, "output_tokens": 122}
    said = {"id": "item_3", "type": "agent_message", "text": message}
    return [*events, {"type": "item.completed", "item": said}, {"type": "turn.completed", "usage": usage}]


def claude(message: str, failed: str | None) -> list[dict]:
    usage = {
        "input_tokens": 4,
        "cache_creation_input_tokens": 5000,
        "cache_read_input_tokens": 100,
        "output_tokens": 250,
    }
    content = [{"type": "text", "text": "Reading."}, {"type": "tool_use", "name": "Edit", "input": {}}]
    result = {
        "type": "result", "subtype": "success", "is_error": failed is not None, "duration_ms": 2000, "num_turns": 3,
        "result": failed or message, "session_id": "s", "total_cost_usd": 0.0123, "usage": usage,
    }  # fmt: skip
    return [
        {"type": "system", "subtype": "init", "model": "claude-sonnet-4-5", "tools": ["Read", "Edit", "Grep"]},
        {"type": "assistant", "message": {"role": "assistant", "content": content}},
        result,
    ]


def gemini(message: str, failed: str | None) -> list[dict]:
    half = len(message) // 2
    stats = {"total_tokens": 700, "input_tokens": 600, "output_tokens": 100, "duration_ms": 900, "tool_calls": 1}
    end: dict = {"type": "result", "status": "success", "stats": stats}
    if failed:
        end = {"type": "result", "status": "error", "error": {"type": "Error", "message": failed}, "stats": stats}
    return [
        {"type": "init", "session_id": "abc", "model": "gemini-3-pro-preview"},
        {"type": "message", "role": "user", "content": "the prompt"},
        {"type": "message", "role": "assistant", "content": message[:half], "delta": True},
        {"type": "tool_use", "tool_name": "replace", "tool_id": "r1", "parameters": {}},
        {"type": "error", "severity": "warning", "message": "Loop detected"},
        {"type": "message", "role": "assistant", "content": message[half:], "delta": True},
        end,
    ]


def opencode(message: str, failed: str | None) -> list[dict]:
    tokens = {"input": 11087, "output": 145, "reasoning": 0, "cache": {"write": 0, "read": 0}}
    step = {"type": "step_finish", "timestamp": 1, "sessionID": "s", "part": {"tokens": tokens, "cost": 0.007}}
    if failed:
        return [{"type": "error", "sessionID": "s", "error": {"name": "APIError", "data": {"message": failed}}}]
    text = {"type": "text", "part": {"type": "text", "text": message}}
    return [{"type": "step_start", "part": {"type": "step-start"}}, text, step, step]


def has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True


def option(arguments: list[str], *names: str) -> str | None:
    for name, value in itertools.pairwise(arguments):
        if name in names:
            return value
    return None


main()
