"""`swarm up --notify` and `--on-event`: where the address goes, and where it does not."""

import os
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from fakes.fake_webhook import fake_webhook
from fakes.tiny_study import make_tiny_study

from swarm.cli.notifying import named_sinks
from swarm.errors import UsageError

SECRET = "secret-token-8f3"


def test_the_variable_leaves_the_environment_before_anybody_inherits_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_NOTIFY", f"https://example.org/{SECRET}")
    (sink,) = named_sinks(None, None)
    assert sink.name == "json at example.org" and "SWARM_NOTIFY" not in os.environ
    monkeypatch.setenv("SWARM_NOTIFY", f"https://example.org/{SECRET}")
    first, second = named_sinks("https://ntfy.sh/topic", "true")
    assert first.name == "ntfy at ntfy.sh" and second.name == "the command of --on-event"
    assert "SWARM_NOTIFY" not in os.environ, "also where another address is given"
    assert named_sinks(None, None) == ()
    with pytest.raises(UsageError):
        named_sinks("nowhere", None)


@pytest.mark.slow
def test_a_study_tells_its_end_and_the_address_is_nowhere(tmp_path: Path) -> None:
    with fake_webhook(500, path=f"/services/{SECRET}") as hook:
        tiny = make_tiny_study(tmp_path)
        happened = tmp_path / "happened"
        study = tiny.start("--trials", "3", "--on-event", f"cat >> {happened}", SWARM_NOTIFY=hook.url)
        seen: set[str] = set()
        own = psutil.Process(study.pid).cmdline()
        while study.poll() is None:
            for child in psutil.Process(study.pid).children(recursive=True):
                with suppress(psutil.Error):
                    has = {*child.environ().values()}
                    if (words := child.cmdline()) != own:  # else it is forked and has not begun yet
                        seen |= {*words, *has}
            with suppress(Exception):
                study.wait(0.3)
        assert study.returncode == 0
        assert any("--agent-id" in word for word in seen), "workers were looked at"
        assert [one["event"] for one in hook.got][-1] == "stopped"
    assert '"event": "stopped"' in happened.read_text()
    texts = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()}
    assert [path for path, text in texts.items() if SECRET.encode() in text] == []
    assert b"Events are told to json at 127.0.0.1" in (tmp_path / "up.log").read_bytes()
    assert [word for word in seen if SECRET in word] == []
