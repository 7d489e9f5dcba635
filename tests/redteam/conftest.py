"""The table of the red team: a line for each program as soon as it is known, and what got through at the end."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from campaign import Campaign
from fakes.redteam_programs.build import Program
from fakes.tiny_study import make_tiny_study
from judge import TABLE_VARIABLE, Line

from swarm.supervisor import Zygote
from swarm.trial.contract import CACHE_VARIABLE, code_root
from swarm.trial.folder import remove_tree

_LINES: list[Line] = []


class Table:
    """Collects lines and shows each at once, whatever pytest captures."""

    def __init__(self, config: pytest.Config) -> None:
        self._terminal = config.pluginmanager.get_plugin("terminalreporter")
        self._capture = config.pluginmanager.get_plugin("capturemanager")

    def add(self, line: Line) -> None:
        _LINES.append(line)
        if self._terminal is not None and self._capture is not None:
            with self._capture.global_and_fixture_disabled():
                self._terminal.ensure_newline()
                self._terminal.write_line(str(line))
        if path := os.environ.get(TABLE_VARIABLE):
            with Path(path).open("a") as file:
                file.write(json.dumps(asdict(line)) + "\n")


@pytest.fixture(scope="session")
def table(request: pytest.FixtureRequest) -> Table:
    return Table(request.config)


@pytest.fixture(scope="session")
def campaign(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    """Runs the programs of the tests that were chosen, ahead of the test that asks."""
    folder = tmp_path_factory.mktemp("redteam")
    os.environ[CACHE_VARIABLE] = str(folder / "cache")  # what attacks may do to shared data, they do to these
    wanted = [
        item.callspec.params["program"]
        for item in request.session.items
        if hasattr(item, "callspec") and isinstance(item.callspec.params.get("program"), Program)
    ]
    zygote = Zygote.start("swarm.harness.preload", folder / "zygote.sock", pythonpath=(str(code_root()),))
    found = Campaign(make_tiny_study(folder), zygote.socket_path, wanted)
    yield found
    found.close()
    zygote.stop()
    del os.environ[CACHE_VARIABLE]
    remove_tree(folder)  # pytest would not get through what deep programs leave, in this session or in any later one


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _LINES:
        return
    write = terminalreporter.write_line
    terminalreporter.section("red team")
    for line in _LINES:
        write(str(line))
    through = [line for line in _LINES if line.through]
    kinds, lost = Counter(line.kind for line in _LINES), Counter(line.kind for line in through)
    write(
        f"{len(_LINES)} programs, {len(through)} got through: "
        + ", ".join(f"{kind} {lost[kind]}/{kinds[kind]}" for kind in kinds)
    )
    write(
        "levels reached: "
        + ", ".join(f"{level} {count}" for level, count in Counter(line.level for line in _LINES).items())
    )
