"""Installs the coding agents by name below a folder: `python tests/agents/install.py FOLDER`.

Each by itself, from the registries that npm and pip are configured with. What cannot be installed leaves its reason in
FOLDER/AGENT.failed, and `test_real_agents.py` skips it with these words. What is there already is left as it is.
"""

import shutil
import subprocess
import sys
from pathlib import Path

NPM = {
    "claude": "@anthropic-ai/claude-code",
    "codex": "@openai/codex",
    "gemini": "@google/gemini-cli",
    "opencode": "opencode-ai",
}
PIP = {"aider": "aider-chat"}
LIMIT_S = 900


def binaries(folder: Path) -> list[Path]:
    """Where their programs lie."""
    return [folder / "npm" / "node_modules" / ".bin", *(folder / agent / "bin" for agent in PIP)]


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for agent, package in NPM.items():
        _install(folder, agent, [["npm", "install", "--silent", "--prefix", str(folder / "npm"), package]])
    for agent, package in PIP.items():
        home = folder / agent
        commands = [[sys.executable, "-m", "venv", str(home)], [str(home / "bin" / "pip"), "install", "-q", package]]
        _install(folder, agent, commands)


def _install(folder: Path, agent: str, commands: list[list[str]]) -> None:
    failed = folder / f"{agent}.failed"
    if any((place / agent).exists() for place in binaries(folder)):
        return
    failed.unlink(missing_ok=True)
    for command in commands:
        if shutil.which(command[0]) is None:
            return _give_up(failed, f"there is no {command[0]} here")
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        except subprocess.TimeoutExpired:
            return _give_up(failed, f"{command[0]} did not end in {LIMIT_S} s")
        if done.returncode != 0:
            return _give_up(failed, f"{' '.join(command[:2])}: {(done.stderr or done.stdout).strip()[-400:]}")
    print(f"{agent}: installed", flush=True)
    return None


def _give_up(failed: Path, reason: str) -> None:
    failed.write_text(reason, encoding="utf-8")
    print(f"{failed.stem}: {reason}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
