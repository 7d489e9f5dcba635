"""The command line as a person meets it: exit codes, one clear error, and nothing heavy before it is needed."""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from factories.records import study_opened
from factories.studies import FakeStudy
from fakes.git_repository import make_repository

from swarm.brain import Brain
from swarm.cli import main
from swarm.study.settings import Layout

SWARM = str(Path(sys.executable).with_name("swarm"))


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"NO_COLOR": "1", "COLUMNS": "200", "TERM": "dumb"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository for commands that are refused."""
    return make_repository(tmp_path_factory.mktemp("untouched") / "repo").root


def process(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SWARM, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def swarm(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The same function that the process calls, in this one: it starts in a tenth of the time."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "argv", ["swarm", *arguments])
        code = main()
    return subprocess.CompletedProcess(arguments, code, stdout.getvalue(), stderr.getvalue())


def write_brain(folder: Path) -> FakeStudy:
    fake = FakeStudy()
    fake.measure_noise()
    fake.try_change(effect=-0.3)
    fake.fail(fake.claim(parent="t0001"))
    Brain(folder / "swarm_brain.jsonl").append(*fake.records)
    return fake


def run_here(folder: Path, study_id: str) -> None:
    """What tells a study that ran in this clone from a copy of its records."""
    path = Layout(root=folder).settings(study_id)
    path.parent.mkdir(parents=True)
    path.write_text("{}")


def test_help_names_every_command(tmp_path: Path) -> None:
    done = process("--help", cwd=tmp_path)
    assert done.returncode == 0
    for command in ("up", "status", "stop", "log", "diff", "adopt", "export", "report", "memory", "verify", "doctor"):
        assert f" {command} " in done.stdout


def test_help_starts_no_heavy_library(tmp_path: Path) -> None:
    """`swarm --help` is quick because it imports neither torch nor pydantic nor the brain."""
    command = [sys.executable, "-X", "importtime", "-m", "swarm", "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert {"typer", "swarm.cli.app"} <= imported
    heavy = {"torch", "numpy", "pydantic", "openai", "httpx2", "optuna", "plotly", "psutil", "swarm.brain"}
    assert heavy & imported == set()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("up", "--workers", "0"), "--workers is 0, and must lie between 1 and 64"),
        (("up", "--device", "tpu"), "--device is 'tpu'; it is one of auto, cuda, cpu"),
        (("up", "--data", "mnist"), "--data is 'mnist'; it is one of auto, cifar100, kjv, standin"),
        (("up", "--proposer", "oracle"), "--proposer is 'oracle'; it is one of auto"),
        (("up", "--proposer", "scripted:nowhere.jsonl"), "there is no file nowhere.jsonl"),
        (("up", "--worker", "worker_9=tpe"), "--worker names 'worker_9'"),
        (("up", "--worker", "worker_1"), "it has the form worker_1=SPEC"),
        (("up", "--hours", "-1"), "--hours is -1"),
        (("up", "--resume"), "there is no study in this brain"),
        (("up", "--workers", "many"), "Invalid value for"),
        (("frobnicate",), "No such command"),
    ],
)
def test_wrong_usage_is_one_clear_error_and_exit_code_2(untouched: Path, arguments: tuple[str, ...], said: str) -> None:
    done = swarm(*arguments, cwd=untouched)
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.returncode == 2


def test_the_process_ends_with_that_error_and_code(untouched: Path) -> None:
    done = process("up", "--workers", "0", cwd=untouched)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "swarm: --workers is 0, and must lie between 1 and 64\n"


def test_a_missing_target_names_those_that_exist(untouched: Path) -> None:
    done = swarm("up", "--target", "alexnet", cwd=untouched)
    assert done.returncode == 2
    assert "there is no target 'alexnet'" in done.stderr


def test_publishing_needs_a_name(untouched: Path) -> None:
    done = swarm("share", "publish", "there", cwd=untouched)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("swarm: --as is missing: say what others call this swarm")
    done = swarm("share", "publish", "there", "--as", "A B", cwd=untouched)
    assert done.stderr.startswith("swarm: --as is 'A B': ")


def test_outside_a_repository(tmp_path: Path) -> None:
    done = process("up", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "repository" in done.stderr


def test_a_brain_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    brain = repo.root / "swarm_brain.jsonl"
    brain.write_text('{"somebody": "else"}\n')
    done = swarm("status", cwd=repo.root)
    assert done.returncode == 1
    assert brain.read_text() == '{"somebody": "else"}\n'


def test_what_a_night_can_find_as_text_and_as_json(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    write_brain(repo.root)
    text = swarm("verdicts", "simulate", "--slots", "12", "--nights", "3", cwd=repo.root)
    assert text.returncode == 0, text.stderr
    assert text.stdout.startswith("12 slots, 0 of them for the finals") and "false nights: 0.0%" in text.stdout
    done = swarm("verdicts", "simulate", "--slots", "30", "--nights", "3", "--json", cwd=repo.root)
    told = json.loads(done.stdout)
    assert (told["slots"], told["held"], told["nights"]) == (30, 6, 3)
    assert [row["gain"] for row in told["gains"]] == [1.0, 1.5, 2.0, 3.0, 4.0]
    refused = swarm("verdicts", "simulate", "--nights", "0", cwd=repo.root)
    assert refused.returncode == 2 and "--nights is 0" in refused.stderr


def test_status_as_text_and_as_json(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    write_brain(repo.root)
    text = swarm("status", cwd=repo.root)
    assert text.returncode == 0
    assert "leading" in text.stdout and "Stand-in data" in text.stdout
    summary = json.loads(swarm("status", "--json", cwd=repo.root).stdout)
    assert summary["schema_version"] == 2
    assert summary["ranking"][0]["program"] == "t0006"
    assert summary["failed"] == {"crashed": 1}


def test_log_tells_the_story_and_one_trial(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    write_brain(repo.root)
    story = swarm("log", cwd=repo.root).stdout
    assert story.count("begins:") == 7
    assert "t0007 failed: crashed: synthetic failure" in story
    one = swarm("log", "7", cwd=repo.root).stdout
    assert "t0007 failed: synthetic change" in one and "failed: crashed" in one and len(one.splitlines()) < 24
    assert "verdict" in swarm("log", "6", cwd=repo.root).stdout
    assert swarm("log", "99", cwd=repo.root).returncode == 2


def test_log_as_json_carries_every_trial_with_its_records(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    fake = write_brain(repo.root)
    told = json.loads(swarm("log", "--json", cwd=repo.root).stdout)
    assert (told["schema_version"], told["study_id"]) == (1, "fake-study")
    assert [one["trial_id"] for one in told["trials"]] == list(fake.study.trials)
    last = json.loads(swarm("log", "7", "--json", cwd=repo.root).stdout)["trials"][0]
    assert [one["kind"] for one in last["records"]] == ["proposal_claimed", "trial_started", "trial_finished"]
    assert (last["state"], last["standing"], last == told["trials"][-1]) == ("failed", "failed", True)
    assert "verdict" in {one["kind"] for one in told["trials"][5]["records"]}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("status", "--json", "--brain", "nowhere.jsonl"), 1),
        (("log", "t0099", "--json"), 2),
        (("status", "--json", "--study", "nothing"), 2),
        (("watch", "--json", "--frobnicate"), 2),
    ],
)
def test_where_json_was_asked_for_an_error_is_json_too(tmp_path: Path, arguments: tuple[str, ...], code: int) -> None:
    repo = make_repository(tmp_path / "repo")
    write_brain(repo.root)
    done = swarm(*arguments, cwd=repo.root)
    told = json.loads(done.stdout)
    assert (done.returncode, told["exit_code"], told["schema_version"]) == (code, code, 1)
    assert done.stderr == f"swarm: {told['error']}\n"


def test_export_has_the_five_columns_of_results_tsv(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    write_brain(repo.root)
    lines = swarm("export", cwd=repo.root).stdout.splitlines()
    assert lines[0].split("\t") == ["commit", "validation_loss", "memory_gb", "status", "description"]
    assert len(lines) == 8
    assert swarm("export", "jsonl", cwd=repo.root).stdout.count("\n") == 7
    refused = swarm("export", "xls", cwd=repo.root)
    assert refused.returncode == 2 and "it is one of tsv, csv, jsonl, parquet" in refused.stderr


def test_the_folder_of_a_report_is_none_of_gits_business_unless_it_was_there(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    write_brain(repo.root)
    assert swarm("report", cwd=repo.root).returncode == 0
    (repo.root / "mine").mkdir()
    assert swarm("report", "--out", "mine", cwd=repo.root).returncode == 0
    seen = repo.git("status", "--porcelain", "--untracked-files=all").split()
    assert "mine/report.md" in seen and not any(path.startswith("report/") for path in seen)


def test_verify_names_the_first_bad_line(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    write_brain(repo.root)
    assert swarm("verify", cwd=repo.root).returncode == 0
    brain = repo.root / "swarm_brain.jsonl"
    lines = brain.read_text().splitlines(keepends=True)
    lines[4] = lines[4].replace("synthetic", "genuine")
    brain.write_text("".join(lines))
    done = swarm("verify", cwd=repo.root)
    assert done.returncode == 1
    assert "line 5" in done.stdout


def test_a_person_steers_and_it_stands_in_status_and_log(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    run_here(repo.root, write_brain(repo.root).study.study_id)
    assert swarm("steer", "note", "try a longer warm-up", cwd=repo.root).returncode == 0
    done = swarm("steer", "veto", "architecture", "--why", "keep it small", cwd=repo.root)
    assert (done.returncode, "Vetoed now: architecture." in done.stdout) == (0, True)
    assert json.loads(swarm("status", "--json", cwd=repo.root).stdout)["vetoed"] == ["architecture"]
    assert "vetoed: architecture" in swarm("status", cwd=repo.root).stdout
    log = swarm("log", cwd=repo.root).stdout
    assert "person steers: note: try a longer warm-up" in log
    assert "person steers: veto architecture: keep it small" in log
    assert "Vetoed now: nothing." in swarm("steer", "allow", "architecture", cwd=repo.root).stdout
    assert json.loads(swarm("status", "--json", cwd=repo.root).stdout)["vetoed"] == []


def test_a_person_gives_a_study_more_trials_and_more_time(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    write_brain(repo.root)
    done = swarm("steer", "budget", "--trials", "900", "--hours", "unlimited", "--why", "it gains", cwd=repo.root)
    assert done.returncode == 2 and "has deadline_at unlimited already" in done.stderr
    done = swarm("steer", "budget", "--trials", "900", "--hours", "3", "--why", "it gains", cwd=repo.root)
    assert (done.returncode, "has 900 trials, until 2" in done.stdout) == (0, True), done.stdout + done.stderr
    assert json.loads(swarm("status", "--json", cwd=repo.root).stdout)["trials_wanted"] == 900
    log = swarm("log", cwd=repo.root).stdout
    assert "person steers: budget trials 900: it gains" in log
    assert "person steers: budget hours 3" in log


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("veto", "architektur"), "there is no family 'architektur'; the families are schedule, optimiser"),
        (("allow", "loss"), "loss is not vetoed in"),
        (("note", "x" * 301), "the text has 301 characters; at most 300"),
        (("note", " "), "the note is empty"),
        (("budget",), "nothing is asked for: give --trials, --hours or both"),
        (("budget", "--trials", "3"), "has claimed"),
        (("budget", "--trials", "900", "--hours", "-1"), "hours is -1, counted from now"),
    ],
)
def test_steering_that_means_nothing_is_refused(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    repo = make_repository(tmp_path / "repo")
    run_here(repo.root, write_brain(repo.root).study.study_id)
    before = (repo.root / "swarm_brain.jsonl").read_bytes()
    done = swarm("steer", *arguments, cwd=repo.root)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert (repo.root / "swarm_brain.jsonl").read_bytes() == before


def test_a_study_that_was_not_run_here_is_not_steered(tmp_path: Path) -> None:
    """A clone has the records of others: a word written there would reach nobody, and dirty a tracked file."""
    repo = make_repository(tmp_path / "repo")
    write_brain(repo.root)
    before = (repo.root / "swarm_brain.jsonl").read_bytes()
    done = swarm("steer", "veto", "architecture", cwd=repo.root)
    assert done.returncode == 2 and "was not run here" in done.stderr
    assert (repo.root / "swarm_brain.jsonl").read_bytes() == before


def test_stop_without_a_running_study(untouched: Path) -> None:
    done = swarm("stop", cwd=untouched)
    assert (done.returncode, done.stdout) == (0, "No study is running here.\n")


def test_a_newer_study_without_a_trial_is_passed_over_with_a_word(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    fake = write_brain(repo.root)
    Brain(repo.root / "swarm_brain.jsonl").append(study_opened(study_id="typo"))
    done = swarm("status", cwd=repo.root)
    assert fake.study.study_id in done.stdout
    assert "typo is newer and has no trial: --study names it" in done.stderr
    named = swarm("status", "--study", "typo", cwd=repo.root)
    assert "typo" in named.stdout and named.stderr == ""


def test_a_system_error_is_one_sentence_with_the_folder_and_what_is_free(
    untouched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(30, "Read-only file system", str(untouched / "some file"))

    monkeypatch.setattr("swarm.cli.up.run_up", refuse)
    done = swarm("up", cwd=untouched)
    assert done.returncode == 1
    assert done.stderr.startswith(f"swarm: Read-only file system: {untouched}/some file (")
    assert "MiB are free there" in done.stderr and done.stderr.count("\n") == 1


def test_what_no_code_expected_is_a_sentence_and_a_file_with_the_rest(
    untouched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> int:
        raise KeyError("never thought of")

    monkeypatch.setattr("swarm.cli.up.run_up", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    done = swarm("up", "--json", cwd=untouched)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert "a fault of swarm itself, KeyError: 'never thought of'" in json.loads(done.stdout)["error"]
    (written,) = tmp_path.glob("swarm-fault-*.txt")
    assert str(written) in done.stderr and "in broken" in written.read_text()


def test_a_name_that_no_encoding_has_is_printed_all_the_same(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    write_brain(repo.root)
    odd = os.fsdecode(b"copy-\xff.jsonl")
    (repo.root / "swarm_brain.jsonl").rename(repo.root / odd)
    done = process("verify", "--brain", odd, cwd=repo.root)
    assert (done.returncode, "the chain holds" in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("gpu", "simulate", "--peak-mib", "0"), "--peak-mib is 0, and must lie between 1 and 1e+06"),
        (("gpu", "simulate", "--spread", "nan"), "--spread is nan, and must lie between"),
        (("gpu", "simulate", "--jobs", "9999999999"), "--jobs is 1e+10, and must lie between 1 and 100000"),
        (("stop", "--timeout", "nan"), "--timeout is nan, and must lie between"),
        (("stop", "--timeout", "-1"), "--timeout is -1, and must lie between"),
        (("gpu", "simulate", "--cards", "x"), ". See: swarm gpu simulate --help"),
    ],
)
def test_a_number_out_of_bounds_is_refused_with_the_bounds(
    untouched: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = swarm(*arguments, cwd=untouched)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("command", [("certify",), ("attribute",), ("verify", "--rerun", "t0001"), ("status",)])
def test_a_brain_without_a_study_is_called_that(tmp_path: Path, command: tuple[str, ...]) -> None:
    repo = make_repository(tmp_path / "repo")
    brain = repo.root / "swarm_brain.jsonl"
    brain.write_bytes(b"\xff\xfe no record\n" * 3)
    done = swarm(*command, cwd=repo.root)
    assert done.returncode == 1, done.stderr
    assert f"{brain} holds no study yet; 3 lines cannot be read, see swarm verify" in done.stderr


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("log | head -1 > /dev/null", 0, ""),
        ("log > /dev/full", 1, "No space left on device"),
        ("status --json > /dev/full", 1, "No space left on device"),
        ("status >&-", 0, ""),
        ("init --command \"fit 'x\" --editable '*'", 2, "no shell could read it: No closing quotation"),
        ("init <&-", 2, "which command runs the program?"),
    ],
)
def test_streams_that_are_gone_full_or_closed(tmp_path: Path, line: str, code: int, said: str) -> None:
    repo = make_repository(tmp_path / "repo")
    write_brain(repo.root)
    script = f"set -o pipefail; '{SWARM}' {line}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=repo.root, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code, done.stderr
    assert (said in done.stderr) if said else done.stderr == "", done.stderr
    assert done.stderr.count("\n") <= 1
