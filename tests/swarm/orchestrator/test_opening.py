"""Opening a study: each refusal and what it leaves behind, and what the settings and the first record say."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from factories.records import claim
from fakes.fake_clock import FakeClock
from fakes.tiny_study import TRAIN, TinyStudy, make_tiny_study, write_script

from swarm.brain import Brain
from swarm.errors import DirtyTarget, DiskFull, SwarmError, TargetError, UsageError
from swarm.orchestrator import opening
from swarm.orchestrator.data import DataReport
from swarm.orchestrator.opening import OpenStudy, open_study
from swarm.orchestrator.settings_file import load_settings, save_settings
from swarm.records import Budget, Note
from swarm.repo import Repo
from swarm.study.options import UpOptions
from swarm.study.settings import GpuMode, Layout
from swarm.study.steering import steer_limit

NO_GPU = UpOptions(target="tiny", device="cpu", data="standin")


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyStudy:
    """Its data is there already: making it takes seconds and is tested with the harness."""
    monkeypatch.setattr(
        "swarm.orchestrator.preparing.prepare_data",
        lambda *_: DataReport(dataset="standin", data_dir=tmp_path / "data"),
    )
    return make_tiny_study(tmp_path)


def opened(
    tiny: TinyStudy, advice: Callable[[str, str], GpuMode] = lambda device, target: "shared", **options: object
) -> OpenStudy:
    wanted = {**NO_GPU.__dict__, **options}
    return open_study(UpOptions(**wanted), tiny.root, FakeClock(), lambda text: None, advice=advice)  # type: ignore[arg-type]


def commit(tiny: TinyStudy, path: str, text: str) -> None:
    tiny.repo.write(path, text)
    tiny.repo.commit()


def a_dirty_target(tiny: TinyStudy) -> None:
    tiny.repo.write("models/tiny/train.py", TRAIN + "\n# edited\n")


def a_program_that_is_no_program(tiny: TinyStudy) -> None:
    commit(tiny, "models/tiny/train.py", "def main(:\n")


def a_program_without_a_model(tiny: TinyStudy) -> None:
    commit(tiny, "models/tiny/train.py", TRAIN.replace("def build_model", "def another"))


def a_target_without_its_file(tiny: TinyStudy) -> None:
    commit(tiny, "models/tiny/target.toml", "name = 'tiny'\n")


def nothing(tiny: TinyStudy) -> None:
    pass


REFUSALS = [
    (nothing, {"workers": 0}, UsageError, "--workers is 0, and must lie between 1 and 64"),
    (nothing, {"proposer": "oracle"}, UsageError, "--proposer is 'oracle'; it is one of auto, "),
    (nothing, {"proposer": "scripted:missing.jsonl"}, UsageError, "there is no file missing.jsonl"),
    (nothing, {"worker_proposers": {"worker_9": "tpe"}}, UsageError, "--worker names 'worker_9'; this run has"),
    (nothing, {"price_in": 1.0}, UsageError, "belong together"),
    (nothing, {"target": "unknown"}, SwarmError, "unknown"),
    (nothing, {"resume": True}, UsageError, "there is no study in this brain"),
    (a_dirty_target, {}, DirtyTarget, "models/tiny/train.py has uncommitted changes"),
    (a_program_that_is_no_program, {}, TargetError, "does not go with its target.toml: line 1: invalid syntax"),
    (a_program_without_a_model, {}, TargetError, "models/tiny/train.py cannot be a study's first program"),
    (a_target_without_its_file, {}, TargetError, "target.toml"),
]


@pytest.mark.parametrize(("spoil", "options", "error", "words"), REFUSALS)
def test_a_refused_study_leaves_nothing_behind(
    tiny: TinyStudy,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[TinyStudy], None],
    options: dict[str, object],
    error: type[SwarmError],
    words: str,
) -> None:
    monkeypatch.setattr(
        "swarm.orchestrator.preparing.prepare_data", lambda *_: pytest.fail("the data was prepared for a refused study")
    )
    spoil(tiny)
    with pytest.raises(error, match=words):
        opened(tiny, **options)
    nothing_was_written(tiny)


def nothing_was_written(tiny: TinyStudy) -> None:
    assert not tiny.brain.exists()
    assert not list(tiny.root.glob(".swarm/studies/*"))
    assert tiny.repo.git("for-each-ref", "refs/swarm") == ""


@pytest.mark.parametrize("part", ["data", "advice"])
def test_data_or_advice_that_fails_leaves_nothing_behind(
    tiny: TinyStudy, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def fail(*_: object) -> GpuMode:
        raise SwarmError(f"no {part} today")

    if part == "data":
        monkeypatch.setattr("swarm.orchestrator.preparing.prepare_data", fail)
    with pytest.raises(SwarmError, match=f"no {part} today"):
        opened(tiny, **({"advice": fail} if part == "advice" else {}))  # type: ignore[arg-type]
    nothing_was_written(tiny)


def test_a_fresh_study_is_written_down_twice(tiny: TinyStudy, tmp_path: Path) -> None:
    tiny.repo.write("program.md", "Be bold.\n")
    script = write_script(tmp_path / "script.jsonl")
    study = opened(tiny, workers=2, trials=7, hours=2.0, seed=3, worker_proposers={"worker_2": f"scripted:{script}"})
    settings = study.settings
    assert settings == load_settings(settings.layout.settings(settings.study_id))
    assert settings.study_id.startswith("tiny-19700112-134640-")
    assert (settings.device, settings.dataset, settings.data_dir) == ("cpu", "standin", tmp_path / "data")
    assert settings.budget == Budget(kind="samples", amount=3000, walltime_limit_s=60)
    assert settings.deadline_at == FakeClock().now() + 7200
    assert {agent: chosen.spec for agent, chosen in settings.proposers.items()} == {
        "worker_1": "auto",
        "worker_2": f"scripted:{script}",
    }
    record = Brain(tiny.brain).snapshot().latest
    assert record is not None
    said = record.opened
    assert (said.study_id, said.base_commit, said.trials, said.seed) == (settings.study_id, settings.base_commit, 7, 3)
    assert (said.workers, said.noise_replicates, said.device) == (2, 5, "cpu")
    assert settings.program_text == "Be bold.\n"


def test_the_base_program_is_committed_beside_the_users_branch(tiny: TinyStudy) -> None:
    head = tiny.repo.git("rev-parse", "HEAD")
    settings = opened(tiny).settings
    assert Repo.open(tiny.root).refs(settings.study_id) == {"base": settings.base_commit}
    assert tiny.repo.git("rev-parse", f"{settings.base_commit}^") == head
    assert tiny.repo.git("rev-parse", "HEAD") == head


def test_a_script_is_found_from_where_the_person_stands(
    tiny: TinyStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = write_script(tmp_path / "script.jsonl")
    monkeypatch.chdir(tmp_path)
    assert opened(tiny, proposer="scripted:script.jsonl").settings.proposers["worker_1"].spec == f"scripted:{script}"


def test_a_model_named_in_the_spec_goes_before_the_runs(tiny: TinyStudy) -> None:
    proposers = opened(
        tiny,
        proposer="openai",
        model="m",
        base_url="http://a/v1",
        worker_proposers={"worker_2": "openai:n@http://b/v1"},
    ).settings.proposers
    assert [(p.spec, p.model, p.base_url) for p in proposers.values()] == [
        ("openai", "m", "http://a/v1"),
        ("openai", "n", "http://b/v1"),
    ]


def test_another_brain_is_named_from_where_the_person_stands(
    tiny: TinyStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert opened(tiny, brain=Path("other.jsonl")).settings.brain == tmp_path / "other.jsonl"
    assert (tmp_path / "other.jsonl").exists() and not tiny.brain.exists()


@pytest.mark.parametrize(("asked", "mode"), [("auto", "exclusive"), ("shared", "shared")])
def test_the_gpu_mode_is_the_persons_or_else_the_advised_one(tiny: TinyStudy, asked: str, mode: str) -> None:
    questions: list[tuple[str, str]] = []

    def advice(device: str, target: str) -> GpuMode:
        questions.append((device, target))
        return "exclusive"

    study = opened(tiny, advice, gpu_mode=asked)
    assert study.settings.gpu_mode == mode
    device = study.brain.snapshot().studies[study.settings.study_id].opened.device_name
    assert questions == ([(device, "tiny")] if asked == "auto" else [])


def test_another_budget_keeps_its_kill_limit_in_proportion_and_above_the_start_up(tiny: TinyStudy) -> None:
    assert opened(tiny, budget_s=100.0).settings.budget == Budget(kind="solo_seconds", amount=100, walltime_limit_s=400)
    assert opened(tiny, budget_s=2.0).settings.budget.walltime_limit_s == 60


def test_a_resumed_study_keeps_all_that_is_not_given_and_records_what_is(tiny: TinyStudy) -> None:
    first = opened(tiny, trials=5, hours=8.0, workers=3, seed=3, early_stop=True, max_usd=2.0, max_tokens=900).settings
    commit(tiny, "models/tiny/train.py", TRAIN.replace("0.05", "0.5"))
    assert opened(tiny, resume=True).settings == first
    again = opened(tiny, resume=True, trials=9, max_usd=4.0)
    raised = {name: chosen.model_copy(update={"max_usd": 4.0}) for name, chosen in first.proposers.items()}
    assert again.settings == first.model_copy(update={"trials": 9, "proposers": raised})
    assert again.settings == load_settings(again.settings.layout.settings(again.settings.study_id))
    assert again.changes == ("trials: 5 -> 9", *(f"worker_{number} max_usd: 2 -> 4" for number in (1, 2, 3)))
    state = Brain(tiny.brain).snapshot()
    assert list(state.studies) == [first.study_id]
    said = state.studies[first.study_id].opened
    assert (said.trials, said.changes, said.workers) == (9, again.changes, 3)


def test_a_study_that_goes_on_has_the_limits_that_a_person_left_it(tiny: TinyStudy) -> None:
    first = opened(tiny, trials=5, hours=8.0)
    study = first.brain.snapshot().studies[first.settings.study_id]
    first.brain.append(steer_limit(study, "trials", "12", 0.0), steer_limit(study, "hours", "unlimited", 0.0))
    again = opened(tiny, resume=True)
    assert (again.settings.trials, again.settings.deadline_at, again.changes) == (12, None, ())
    more = opened(tiny, resume=True, trials=20)
    assert more.settings.trials == 20 and more.changes == ("trials: 12 -> 20",)


def test_a_search_that_ended_at_a_plateau_goes_on_only_if_a_person_says_so(tiny: TinyStudy) -> None:
    first = opened(tiny, trials=99, stop_at_plateau=True)
    assert opened(tiny, resume=True).settings == first.settings, "it has not ended at one"
    note = Note(study_id=first.settings.study_id, topic="plateau", description="40 of 41 proposals")
    first.brain.append(note)
    for asked in ({}, {"trials": 200}, {"stop_at_plateau": True}):
        with pytest.raises(UsageError, match=r"ended early, at a plateau: 40 of 41 proposals.*--no-stop-at-plateau"):
            opened(tiny, resume=True, **asked)
    assert opened(tiny, resume=True, finals="now").settings.finals == "now"
    again = opened(tiny, resume=True, stop_at_plateau=False, given=frozenset({"stop_at_plateau"}))
    assert not again.settings.stop_at_plateau and again.changes[0] == "stop_at_plateau: True -> False"


def test_a_refused_change_leaves_the_study_as_it_was(tiny: TinyStudy) -> None:
    opened(tiny, trials=5)
    lines = tiny.brain.read_text()
    with pytest.raises(UsageError, match=r"--budget-s is 7\.0, and study tiny-\S+ has 3000"):
        opened(tiny, resume=True, budget_s=7.0)
    with pytest.raises(UsageError, match="--worker names 'worker_3'; this run has worker_1, worker_2"):
        opened(tiny, resume=True, worker_proposers={"worker_3": "tpe"})
    assert tiny.brain.read_text() == lines


def test_a_study_whose_record_cannot_be_written_leaves_nothing_and_changes_nothing(
    tiny: TinyStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = opened(tiny, trials=5).settings
    lines = tiny.brain.read_text()

    def full(*_: object) -> None:
        raise DiskFull("no room")

    monkeypatch.setattr(Brain, "append", full)
    for options in ({}, {"resume": True, "trials": 7}):
        with pytest.raises(DiskFull, match="no room"):
            opened(tiny, **options)
    assert tiny.brain.read_text() == lines
    assert [path.name for path in tiny.root.glob(".swarm/studies/*")] == [settings.study_id]
    assert load_settings(settings.layout.settings(settings.study_id)).trials == 5


def test_a_study_that_never_ran_is_not_resumed_in_place_of_one_that_did(
    tiny: TinyStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = opened(tiny, trials=5)
    ran.brain.append(claim("t0001").model_copy(update={"study_id": ran.settings.study_id}))
    monkeypatch.setattr(opening, "dated_id", lambda *_: "later")
    typo = opened(tiny, trials=50)
    assert typo.settings.study_id != ran.settings.study_id
    assert opened(tiny, resume=True).settings == ran.settings


def test_a_model_that_nobody_could_ask_is_refused(tiny: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "SWARM_MODEL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match="some-model would be asked at OpenAI's own server, and there is no key"):
        opened(tiny, model="some-model")
    with pytest.raises(UsageError, match="--model is 'some-model', and --proposer tpe asks no model"):
        opened(tiny, model="some-model", proposer="tpe")
    with pytest.raises(UsageError, match="--base-url is 'http://host/v1', and --proposer embedded asks no model"):
        opened(tiny, base_url="http://host/v1", proposer="embedded")
    assert not tiny.brain.exists()


def test_a_model_of_the_environment_that_is_not_asked_is_named(
    tiny: TinyStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SWARM_MODEL", "some-model")
    said: list[str] = []
    open_study(NO_GPU, tiny.root, FakeClock(), said.append)
    assert [line for line in said if "SWARM_MODEL is some-model" in line and "no model is asked" in line]


def test_a_study_of_another_clone_cannot_be_resumed(tiny: TinyStudy) -> None:
    settings = opened(tiny).settings
    settings.layout.settings(settings.study_id).unlink()
    with pytest.raises(UsageError, match=f"study {settings.study_id} was not run in this clone"):
        opened(tiny, resume=True)
    with pytest.raises(UsageError, match=r"finals: study \S+ was not run in this clone"):
        opened(tiny, resume=True, finals="now")


def test_a_study_of_another_harness_cannot_be_resumed(tiny: TinyStudy) -> None:
    settings = opened(tiny).settings
    save_settings(settings.model_copy(update={"harness_sha256": "another"}))
    lines = tiny.brain.read_text()
    with pytest.raises(SwarmError, match="the harness has changed since"):
        opened(tiny, resume=True)
    assert tiny.brain.read_text() == lines


def test_damaged_settings_are_an_error_that_names_the_file(tiny: TinyStudy) -> None:
    settings = opened(tiny).settings
    path = settings.layout.settings(settings.study_id)
    path.write_text(json.dumps({"study_id": "s"}))
    with pytest.raises(SwarmError, match=f"{path} is not the settings of a study"):
        opened(tiny, resume=True)
    with pytest.raises(SwarmError, match="cannot read the settings"):
        load_settings(Layout(root=tiny.root).settings("another"))
