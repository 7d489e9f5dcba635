"""Exports into the stores of other tools, read back with those tools' own libraries: once for each trial."""

import importlib
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from factories.studies import FakeStudy

from swarm.records import FailReason
from swarm.report.export import STORES, export_to, trial_rows
from swarm.report.export.trials import exported_trials
from swarm.study.state import StudyState, replay
from swarm.version import missing

SOURCE = 'WIDTH = 16  # search: int(8, 64)\nMAX_LR = 0.1  # search: log(1e-2, 1.0)\nNAME = "x"\nFLIP = True\n'
TEXTS = {"t0001": SOURCE, "t0006": SOURCE.replace("MAX_LR = 0.1", "MAX_LR = 3.0"), "t0007": SOURCE + "EXTRA = 2\n"}
READ_SLOWLY = ("mlflow", "wandb")
needed = [
    pytest.param(
        name,
        marks=[
            pytest.mark.skipif(
                bool(missing(name)), reason=f"without the extra [{name}] its export is not verified: {missing(name)}"
            ),
            *([pytest.mark.slow] if name in READ_SLOWLY else []),
        ],
    )
    for name in STORES
]


@pytest.fixture(scope="module")
def fake() -> FakeStudy:
    """Five baselines, two changes with curves, a failure, one that was ended early, one that still runs."""
    fake = FakeStudy(seed=1)
    fake.measure_noise()
    for change in ({"MAX_LR": (0.1, 3.0)}, {"EXTRA": (None, 2)}):
        trial = fake.claim(
            parent="t0001", effect=-0.2, constants=change, description="set <b>it</b>; drop table trials"
        )
        fake.finish(trial, curve=[(0.0, 4.0), (0.5, 3.0), (1.0, 2.0)], rungs=[(0.5, 3.1)])
    fake.fail(fake.claim(parent="t0001"))
    fake.fail(fake.claim(parent="t0001"), FailReason.PRUNED, rungs=[(0.5, 4.5)])
    fake.start(fake.claim(parent="t0001"))
    return fake


def early(fake: FakeStudy) -> StudyState:
    """As it was after the sixth trial."""
    cut = next(i for i, one in enumerate(fake.records) if getattr(one, "trial_id", None) == "t0007")
    study = replay(fake.records[:cut]).latest
    assert study is not None
    return study


def numbers(study: StudyState) -> dict[str, float | None]:
    return {row.trial_id: row.value for row in trial_rows(study)}


def read_parquet(folder: Path) -> list[tuple[str, float | None]]:
    from pyarrow import parquet

    table = parquet.read_table(folder / "fake-study.parquet").to_pylist()
    return [(row["trial_id"], row["validation_loss"]) for row in table]


def read_tensorboard(folder: Path) -> list[tuple[str, float | None]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    found: list[tuple[str, float | None]] = []
    for run in sorted((folder / "tensorboard" / "fake-study").iterdir()):
        events = EventAccumulator(str(run))
        events.Reload()
        values = events.Tensors("validation_loss") if "validation_loss" in events.Tags()["tensors"] else []
        assert len(values) <= 1 and len(list(run.iterdir())) == 1
        found.append((run.name, float(make_ndarray(values[0].tensor_proto)) if values else None))
    return found


def read_mlflow(folder: Path) -> list[tuple[str, float | None]]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("fake-study")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    return [(run.info.run_name, run.data.metrics.get("validation_loss")) for run in runs]


def read_wandb(folder: Path) -> list[tuple[str, float | None]]:
    from wandb.proto import wandb_internal_pb2

    found: list[tuple[str, float | None]] = []
    for path in (folder / "wandb").glob("offline-run-*/*.wandb"):
        name, value = "", None
        for data in leveldb_log(path.read_bytes()[7:]):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "run":
                name = record.run.display_name
                assert record.run.run_group == "fake-study"
            for item in record.summary.update:
                if "validation_loss" in (item.key, *item.nested_key):
                    value = json.loads(item.value_json)
        found.append((name, value))
    return found


def leveldb_log(content: bytes) -> list[bytes]:
    """Records of a log in leveldb's format. W&B's own header of seven bytes counts for the first block."""
    records, at, block, parts = [], 0, 32768, b""
    while at + 7 <= len(content):
        if block - (at + 7) % block < 7:
            at += block - (at + 7) % block
            continue
        size, kind = struct.unpack("<HB", content[at + 4 : at + 7])
        parts += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):
            records.append(parts)
            parts = b""
    return records


def read_optuna(folder: Path) -> list[tuple[str, float | None]]:
    return [(one.user_attrs["trial"], one.value) for one in optuna_study(folder).trials]


def optuna_study(folder: Path) -> Any:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(folder / "optuna.log")))
    return optuna.load_study(study_name="fake-study", storage=storage)


READERS: dict[str, Callable[[Path], list[tuple[str, float | None]]]] = {
    "parquet": read_parquet,
    "tensorboard": read_tensorboard,
    "mlflow": read_mlflow,
    "wandb": read_wandb,
    "optuna": read_optuna,
}


def same(found: list[tuple[str, float | None]], study: StudyState) -> bool:
    """Each finished trial once, with its number."""
    wanted = numbers(study)
    assert sorted(name for name, _ in found) == sorted(wanted)
    return all(value == pytest.approx(wanted[name]) for name, value in found)


@pytest.mark.filterwarnings("ignore")  # of the libraries
@pytest.mark.parametrize("name", needed)
def test_twice_adds_nothing_twice_and_later_only_what_is_new(name: str, fake: FakeStudy, tmp_path: Path) -> None:
    first, folder = early(fake), tmp_path / "exports"
    written = export_to(name, first, TEXTS, folder)
    assert (written.added, written.known) == (6, 0)
    assert same(READERS[name](folder), first)
    again = export_to(name, first, TEXTS, folder)
    assert (again.added, again.known) == (0, 6)
    assert same(READERS[name](folder), first)
    later = export_to(name, fake.study, {}, folder)  # from where no program can be read
    assert (later.added, later.known) == (3, 6)
    assert same(READERS[name](folder), fake.study)
    assert written.path.exists() and str(folder) in written.opened_with
    assert (folder / ".gitignore").read_text() == "*\n"


KILLED_IN = {"tensorboard": "_summaries", "mlflow": "_add", "wandb": "run_id", "optuna": "_frozen"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [param for param in needed if param.values[0] in KILLED_IN])
def test_an_export_that_was_killed_is_finished_by_the_next(
    name: str, fake: FakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(f"swarm.report.export.{name}_store")
    with monkeypatch.context() as patch:
        die_in(module, KILLED_IN[name], patch, calls=12 if name == "wandb" else 4)
        with pytest.raises(KeyboardInterrupt):
            export_to(name, fake.study, TEXTS, tmp_path)
    done = export_to(name, fake.study, TEXTS, tmp_path)
    assert 0 < done.known < 9 and done.added + done.known == 9
    assert same(READERS[name](tmp_path), fake.study)


def die_in(module: ModuleType, name: str, patch: pytest.MonkeyPatch, *, calls: int) -> None:
    """With this call of the function: after half of its work, if it is MLflow's."""
    real, made = getattr(module, name), []

    def dying(*arguments: Any) -> Any:
        made.append(name)
        if len(made) == calls:
            if name == "_add":
                client, experiment, _, trial = arguments
                client.create_run(experiment, tags={module.TRIAL: trial.row.trial_id})
            raise KeyboardInterrupt
        return real(*arguments)

    patch.setattr(module, name, dying)


@pytest.mark.skipif(bool(missing("optuna")), reason="without Optuna its export is not verified")
@pytest.mark.filterwarnings("ignore")
def test_optuna_has_the_states_ranges_and_times_of_the_study(fake: FakeStudy, tmp_path: Path) -> None:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    export_to("optuna", fake.study, TEXTS, tmp_path)
    study = optuna_study(tmp_path)
    by_name = {one.user_attrs["trial"]: one for one in study.trials}
    assert [one.state.name for one in by_name.values()][-2:] == ["FAIL", "PRUNED"]
    assert by_name["t0009"].intermediate_values == {500: 4.5}
    changed = by_name["t0006"]
    assert changed.params == {"WIDTH": 16, "MAX_LR": 3.0, "FLIP": True}
    assert changed.distributions["MAX_LR"] == FloatDistribution(0.01, 3.0, log=True)
    assert changed.distributions["WIDTH"] == IntDistribution(8, 64)
    assert changed.distributions["FLIP"] == CategoricalDistribution((False, True))
    assert changed.user_attrs["constant.NAME"] == "x"
    assert by_name["t0007"].params["EXTRA"] == 2
    assert study.best_trial.value == min(value for value in numbers(fake.study).values() if value is not None)
    started = fake.study.trials["t0006"].started
    assert started is not None and changed.datetime_start.timestamp() == pytest.approx(started.at)


@pytest.mark.skipif(bool(missing("optuna")), reason="without Optuna its export is not verified")
@pytest.mark.filterwarnings("ignore")
def test_optuna_keeps_the_kind_of_range_that_it_has(fake: FakeStudy, tmp_path: Path) -> None:
    export_to("optuna", early(fake), TEXTS, tmp_path)
    export_to("optuna", fake.study, {}, tmp_path)  # no program tells its ranges any more
    ranges = [one.distributions["MAX_LR"] for one in optuna_study(tmp_path).trials]
    assert len(ranges) == 9 and {one.log for one in ranges} == {True}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(
    find_spec("optuna_dashboard") is None, reason="without optuna-dashboard the exported study is not verified in it"
)
def test_optuna_dashboard_opens_it(fake: FakeStudy, tmp_path: Path) -> None:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna_dashboard import wsgi

    export_to("optuna", fake.study, TEXTS, tmp_path)
    application = wsgi(JournalStorage(JournalFileBackend(str(tmp_path / "optuna.log"))))

    def get(path: str) -> Any:
        environment: dict[str, Any] = {"PATH_INFO": path}
        setup_testing_defaults(environment)
        said: list[str] = []
        body = b"".join(application(environment, lambda status, headers, *_: said.append(status)))
        assert said[0].startswith("200"), (said, body[:300])
        return json.loads(body)

    (listed,) = get("/api/studies")["study_summaries"]
    shown = get(f"/api/studies/{listed['study_id']}")
    assert listed["study_name"] == "fake-study" and len(shown["trials"]) == 9


def test_without_the_text_constants_come_from_the_records(fake: FakeStudy) -> None:
    told = {one.row.trial_id: one for one in exported_trials(fake.study, {})}
    assert told["t0006"].constants == {"MAX_LR": 3.0}
    assert told["t0007"].constants == {"MAX_LR": 0.1, "EXTRA": 2}
    assert told["t0001"].constants == {"MAX_LR": 0.1}
    read = {one.row.trial_id: one for one in exported_trials(fake.study, TEXTS)}
    assert read["t0007"].constants == {"WIDTH": 16, "MAX_LR": 0.1, "NAME": "x", "FLIP": True, "EXTRA": 2}
    assert read["t0006"].curve == ((0, 4.0), (500, 3.0), (1000, 2.0))


def test_nothing_of_a_store_is_imported_before_it_is_asked_for() -> None:
    script = (
        "import sys; import swarm.report.export, swarm.cli.exporting; "
        "print([n for n in ('pyarrow', 'tensorboard', 'mlflow', 'wandb', 'optuna') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
