"""The reference says what the code says: generated pages are fresh, written ones name everything and nothing more."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import typer

from swarm import errors
from swarm.cli.app import app
from swarm.study.settings import ProposerSettings, RunSettings
from swarm.trial.contract import ExitCode

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs/reference"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs/make_reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def first_columns(text: str) -> set[str]:
    """The names in code style of each table's first column."""
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("|")]
    return {name for cell in rows for name in re.findall(r"`([^`]+)`", cell)}


def test_the_generated_pages_are_as_the_code_is(generator: ModuleType) -> None:
    stale = [path.name for path in generator.stale_pages()]
    assert stale == [], "run `make docs` and commit what it changed"


def test_what_was_changed_by_hand_is_made_again(generator: ModuleType) -> None:
    text = page("commands.md")
    assert generator.filled(text) == text
    assert generator.filled(text.replace("- `--workers N`", "- `--worker-count N`")) == text


def test_every_generated_part_is_on_a_page(generator: ModuleType) -> None:
    named = [name for path in REFERENCE.glob("*.md") for name in re.findall(r"<!-- generated: (\S+)", path.read_text())]
    assert sorted(named) == sorted(generator.PARTS)


def test_every_kind_and_field_of_a_record_is_on_the_page_of_the_format() -> None:
    from swarm import records

    text = page("brain-format.md")
    kinds = {kind: text.partition(f"### `{kind}`\n")[2].partition("###")[0] for kind in records.KNOWN_KINDS}
    missing = [
        f"{kind}.{field}"
        for kind, model in records.KNOWN_KINDS.items()
        for field in model.model_fields.keys() - records.Record.model_fields.keys()
        if f"- `{field}`" not in kinds[kind]
    ]
    envelope = records.Record.model_fields.keys() - first_columns(text)
    assert (missing, sorted(envelope)) == ([], [])


def test_every_setting_is_on_the_page_and_no_other() -> None:
    shown = first_columns(page("settings.md"))
    assert sorted(shown) == sorted(RunSettings.model_fields.keys() | ProposerSettings.model_fields.keys())


def test_every_variable_of_ours_is_on_the_page_and_no_other() -> None:
    sources = [path for part in ("swarm", "workers", "models") for path in (ROOT / part).rglob("*.py")]
    used = {name for path in sources for name in re.findall(r"\bSWARM_[A-Z_]*[A-Z]\b", path.read_text())}
    shown = {name for name in first_columns(page("environment.md")) if name.startswith("SWARM_")}
    assert sorted(used) == sorted(shown)


def test_every_variable_of_a_server_or_a_provider_is_on_the_page_and_no_other() -> None:
    name = re.compile(r"(?:OPENAI|RUNPOD)_[A-Z_]*[A-Z]")
    sources = [path for part in ("swarm", "workers") for path in (ROOT / part).rglob("*.py")]
    quoted = {word for path in sources for word in re.findall(r'"([A-Z_]+)"', path.read_text())}
    assert {"OPENAI_API_KEY", "RUNPOD_API_KEY"} <= quoted
    shown = first_columns(page("environment.md"))
    assert sorted(filter(name.fullmatch, quoted)) == sorted(filter(name.fullmatch, shown))


def test_the_exit_codes_of_all_errors_are_on_the_page() -> None:
    def below(error: type[errors.SwarmError]) -> set[int]:
        return {error.exit_code}.union(*(below(child) for child in error.__subclasses__()))

    commands, phases = page("exit-codes.md").split("## Of a trial's phases")
    assert {f"| {code} |" for code in below(errors.SwarmError) | {0, 130}} <= set(re.findall(r"\| \d+ \|", commands))
    assert re.findall(r"^- `(\d+)`", phases, re.MULTILINE) == [str(int(code)) for code in ExitCode]


def test_every_room_is_in_the_drawing() -> None:
    drawing = (ROOT / "docs/explanation/architecture.md").read_text(encoding="utf-8").split("```")[1]
    rooms = {path.name for path in (ROOT / "swarm").iterdir() if path.is_dir() and any(path.glob("*.py"))}
    rooms |= {path.stem for path in (ROOT / "swarm").glob("*.py") if not path.name.startswith("_")}
    assert sorted(rooms - set(re.findall(r"\w+", drawing))) == []


SNIPPET = re.compile(r"(?:^    |`|^)swarm +([^`\n#]+)", re.MULTILINE)
PROSE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]


@pytest.mark.parametrize("path", PROSE, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_and_flag_in_the_prose_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert [found for snippet in SNIPPET.findall(text) for found in unknown_words(snippet)] == []


def unknown_words(snippet: str) -> list[str]:
    """Of a command line without its `swarm`, or of several beside each other: commands and flags that there are not."""
    wrong: list[str] = []
    for line in re.split(r" {2,}swarm ", snippet):
        line, *passed_on = re.split(r" --(?: |$)", line, maxsplit=1)  # noqa: PLW2901 - to swarm up, in a pod
        wrong += [word for words in passed_on for word in unknown_words(f"up {words}")]
        words, command, path = line.split(), typer.main.get_command(app), "swarm"
        while words and getattr(command, "commands", None) and words[0].islower() and words[0][0] != "-":
            path = f"{path} {words[0]}"
            command = command.commands.get(words.pop(0))
        if command is None:
            wrong.append(path)
            continue
        known = {"--help", *(name for one in command.params for name in (*one.opts, *one.secondary_opts))}
        wrong += [f"{path} {word}" for word in words if word.startswith("--") and word not in known]
    return wrong


def test_a_command_or_flag_that_is_not_there_is_found() -> None:
    assert unknown_words("approve t0001") == ["swarm approve"]
    assert unknown_words("status --json   swarm steer veto x --because y") == ["swarm steer veto --because"]
    assert unknown_words("pod up --gpu x -- --trials 4 --gpu y") == ["swarm up --gpu"]
