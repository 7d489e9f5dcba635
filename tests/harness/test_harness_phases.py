"""Whole trials of tiny programs through the real phases. One process with everything imported forks each of them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from swarm.harness import run, score_phase, stage_phase
from swarm.harness.config import load
from swarm.harness.errors import HarnessError
from swarm.harness.layout import Layout
from swarm.trial.config import TrialConfig, WorkBudget
from swarm.trial.contract import ExitCode, Phase, code_root, program_sha256
from swarm.trial.heartbeat import read_beat

ROWS = {"train": 400, "rung": 100, "val": 200, "test": 300}

PROGRAM = """
import torch
import torch.nn.functional as F
from torch import nn
from swarm.harness import augment, clock, data, device, finish

def build_model():
    return nn.Sequential(nn.Conv2d(3, 8, 3, 4), nn.BatchNorm2d(8), nn.Flatten(), nn.Dropout(0.1), nn.Linear(512, 100))

def main():
    train = data.train()
    model = build_model().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for images, labels in clock.batches(train, 50, augment.flip, state=(model, optimizer)):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        clock.report(loss)
    finish(model)
"""

CHEATED = PROGRAM + "    open('../train_out/weights.pt', 'wb').write(CONTENT)\n"

BOMB = """
import os, pickle
class Bomb:
    def __reduce__(self):
        return os.system, ("touch ../exploded",)
"""

PROGRAMS = {
    "good": PROGRAM,
    "again": PROGRAM,
    "spawned": PROGRAM,
    "other_seed": PROGRAM,
    "average": PROGRAM.replace("finish(model)", "finish(torch.optim.swa_utils.AveragedModel(model))"),
    "two_views": PROGRAM.replace("return nn.Sequential(", "return Views(")
    + "\nclass Views(nn.Sequential):\n"
    + "    def forward(self, x):\n"
    + "        return super().forward(x) + super().forward(x.flip(3))\n",
    "settled": PROGRAM
    + """
    import resource
    torch.ones(4 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(4 << 20)
    print("faults", resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
""",
    "no_finish": PROGRAM.replace("    finish(model)\n", ""),
    "no_main": PROGRAM.replace("def main", "def start"),
    "no_build": PROGRAM.replace("def build_model", "def make_model").replace("= build_model", "= make_model"),
    "syntax": "def main(:\n",
    "raises": PROGRAM.replace("train = data.train()", "raise KeyError('x')"),
    "nan": PROGRAM.replace("clock.report(loss)", "clock.report(loss * float('nan'))"),
    "diverging": PROGRAM.replace("clock.report(loss)", "clock.report(loss + 100)"),
    "hungry": PROGRAM.replace("train = data.train()", "torch.empty(1 << 50)"),
    "hungry_in_predict": PROGRAM.replace("return nn.Sequential(", "return Hungry(")
    + "\nclass Hungry(nn.Sequential):\n"
    + "    def forward(self, x):\n"
    + "        return super().forward(x) if len(x) <= 100 else torch.empty(1 << 50)\n",  # of 200 at once
    "untrained": PROGRAM.replace("    for images", "    finish(model)\n    for images"),
    "pickle_bomb": BOMB + CHEATED.replace("CONTENT", "pickle.dumps(Bomb())"),
    "tensor_bomb": BOMB + PROGRAM + "    torch.save({'0.weight': Bomb()}, '../train_out/weights.pt')\n",
    "zip_bomb": "import io, zipfile\n"
    + CHEATED.replace(
        "    open(",
        "    b = io.BytesIO()\n    z = zipfile.ZipFile(b, 'w', zipfile.ZIP_DEFLATED)\n"
        "    z.writestr('archive/data.pkl', bytes(1 << 20))\n    z.close()\n    open(",
    ).replace("CONTENT", "b.getvalue()"),
    "learns_in_predict": PROGRAM.replace("return nn.Sequential(", "return Learner(")
    + "\nclass Learner(nn.Sequential):\n"
    + "    def forward(self, x):\n"
    + "        if not self.training:\n"
    + "            torch.optim.SGD(self.parameters(), 0.1).step()\n"
    + "        return super().forward(x)\n",
    "other_shape": PROGRAM.replace("finish(model)", "finish(nn.Linear(4, 4))"),
    "too_few_rows": PROGRAM.replace("return nn.Sequential(", "return Half(")
    + "\nclass Half(nn.Sequential):\n"
    + "    def forward(self, x):\n"
    + "        return super().forward(x)[:: 1 if self.training else 2]\n",
}

FORK = """
import os, pathlib, sys
from swarm.harness import predict_phase, preload, repeat_phase, train_phase
PHASES = {'train': train_phase, 'predict': predict_phase, 'repeat': repeat_phase}
for line in iter(sys.stdin.readline, ''):
    preload.assert_forkable()
    phase, path, log = line.split()
    child = os.fork()
    if child == 0:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.chdir(os.path.join(os.path.dirname(path), "program"))
        code = PHASES[phase].run(pathlib.Path(path))
        sys.stdout.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Small data with something to learn: each class has its own colour."""
    layout = Layout(tmp_path_factory.mktemp("data"))
    random = np.random.default_rng(0)
    colours = random.integers(0, 256, (100, 3, 1, 1))
    for folder in ("train", "eval", "private"):
        (layout.root / folder).mkdir()
    for part, rows in ROWS.items():
        labels = np.arange(rows, dtype=np.uint8) % 100
        noise = random.integers(-30, 31, (rows, 3, 32, 32))
        np.save(layout.images(part), (colours[labels] + noise).clip(0, 255).astype(np.uint8))
        np.save(layout.labels(part), labels)
    return layout


Trials = dict[str, TrialConfig]


@pytest.fixture(scope="module")
def trials(layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> Trials:
    made = {}
    for name, source in PROGRAMS.items():
        config = TrialConfig(
            trial_id=name,
            study_id="test",
            seed=2 if name == "other_seed" else 1,
            device="cpu",
            threads=1,
            data_dir=layout.root,
            root=tmp_path_factory.mktemp(name),
            budget=WorkBudget("samples", 1500),
            split="val",
            memory_cap_mib=2000,
            rungs=(0.5,),
            editable="train.py",
        )
        config.folder.make()
        config.program_file.write_text(source)
        config.folder.config.write_text(config.to_json())
        made[name] = config
    return made


@pytest.fixture(scope="module")
def forker() -> Iterator[subprocess.Popen[str]]:
    """A process that has imported everything and forks a phase for each line it is given."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(code_root())}
    command = [sys.executable, "-c", FORK]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        yield process
        process.stdin.close()
    assert process.returncode == 0


def fork(forker: subprocess.Popen[str], phase: str, config: TrialConfig) -> int:
    forker.stdin.write(f"{phase} {config.folder.config} {config.folder.log(phase)}\n")
    return int(forker.stdout.readline())


@pytest.fixture(scope="module")
def trained(trials: Trials, forker: subprocess.Popen[str]) -> dict[str, int]:
    codes = {name: fork(forker, "train", config) for name, config in trials.items() if name != "spawned"}
    return {**codes, "spawned": run.run_phase(trials["spawned"], Phase.TRAIN)}


@pytest.fixture(scope="module")
def predicted(trials: Trials, trained: dict[str, int], forker: subprocess.Popen[str]) -> dict[str, int]:
    names = [name for name, code in trained.items() if code == 0]
    assert [stage_phase.run(trials[name].folder.config) for name in names] == [0] * len(names)
    return {name: fork(forker, "predict", trials[name]) for name in names}


def log(config: TrialConfig, phase: str = "train") -> str:
    return config.folder.log(phase).read_text()


def test_good_trial_is_scored(
    trials: Trials, trained: dict[str, int], predicted: dict[str, int], forker: subprocess.Popen[str]
) -> None:
    config = trials["good"]
    assert (trained["good"], predicted["good"]) == (0, 0), log(config) + log(config, "predict")
    assert fork(forker, "repeat", config) == 0
    config.folder.rung_logits(50).rename(config.folder.taken_rung(50))
    assert score_phase.run(config.folder.config) == 0
    score = json.loads(config.folder.score.read_text())
    assert score["rows"] == ROWS["val"]
    assert score["validation_loss"] < 4.0
    assert score["top1"] > 0.1
    assert (config.folder.rung_score(50)).exists()
    facts = json.loads(config.folder.train_report.read_text())
    assert (facts["steps"], facts["samples"], facts["epochs"]) == (30, 1500, 3.75)
    assert set(facts["overhead_s"]) >= {"import", "data", "build", "compile", "warmup"}
    beat = read_beat(config.folder.heartbeat)
    assert beat is not None and (beat.step, beat.progress) == (30, 1.0)


def test_a_training_on_the_cpu_keeps_its_memory(trials: Trials, trained: dict[str, int]) -> None:
    assert trained["settled"] == 0, log(trials["settled"])
    faults = log(trials["settled"]).split("faults")[1]
    assert int(faults) < 20 * (16 << 20) // os.sysconf("SC_PAGE_SIZE") // 10


def test_log_uses_the_names_of_the_original_run(trials: Trials, trained: dict[str, int]) -> None:
    lines = [line.split(": ")[0] for line in log(trials["good"]).splitlines()]
    assert {"loss", "training_seconds", "total_seconds", "peak_vram_mb", "num_steps", "num_params_M"} <= set(lines)


def test_same_seed_same_bits_forked_or_spawned(trials: Trials, trained: dict[str, int]) -> None:
    assert trained["spawned"] == 0, log(trials["spawned"])
    weights = {
        name: torch.load(trials[name].folder.weights, weights_only=True)
        for name in ("good", "again", "spawned", "other_seed")
    }
    for name in ("again", "spawned"):
        assert all(torch.equal(weights["good"][key], weights[name][key]) for key in weights["good"])
    assert not torch.equal(weights["good"]["0.weight"], weights["other_seed"]["0.weight"])


def test_images_are_shown_in_another_order_each_time(trials: Trials, predicted: dict[str, int]) -> None:
    orders = [np.load(trials[name].folder.image_order).tolist() for name in ("good", "again")]
    assert orders[0] != orders[1]
    assert all(sorted(order) == list(range(ROWS["val"])) for order in orders)


def test_a_program_that_is_not_the_one_that_was_laid_out_predicts_nothing(trials: Trials, tmp_path: Path) -> None:
    config = replace(trials["good"], root=tmp_path, program_sha256=program_sha256(trials["good"].folder.program))
    config.folder.make()
    config.folder.config.write_text(config.to_json())
    config.program_file.write_text(PROGRAM + "# trained by another\n")
    assert stage_phase.run(config.folder.config) == 13
    assert not config.folder.images.exists()
    config.program_file.write_text(trials["good"].program_file.read_text())
    assert stage_phase.run(config.folder.config) == 0


def test_bytecode_is_neither_written_nor_believed(trials: Trials, trained: dict[str, int]) -> None:
    assert [path.name for path in trials["good"].folder.program.iterdir()] == ["train.py"]


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("no_finish", 12, "without finish(model)"),
        ("no_main", 12, "no function main()"),
        ("no_build", 12, "no function build_model()"),
        ("untrained", 12, "before any training step"),
        ("nan", 10, "training loss is nan"),
        ("diverging", 10, "limit 13.816"),
        ("hungry", 11, "OutOfMemory"),
        ("syntax", 1, "SyntaxError"),
        ("raises", 1, "KeyError: 'x'"),
    ],
)
def test_training_that_fails_says_why(
    trials: Trials, trained: dict[str, int], name: str, code: int, reason: str
) -> None:
    assert trained[name] == code
    assert reason in log(trials[name])
    assert not (trials[name].folder.weights).exists()


def test_out_of_memory_leaves_a_sidecar(trials: Trials, trained: dict[str, int]) -> None:
    facts = json.loads(trials["hungry"].folder.oom_report.read_text())
    assert facts == {
        "lack": "host",
        "requested": 4 << 50,
        "reserved": None,
        "allowed": 2000 << 20,
        "device_free": None,
        "device_total": None,
    }


def test_out_of_memory_in_a_prediction_is_one(trials: Trials, predicted: dict[str, int]) -> None:
    assert predicted["hungry_in_predict"] == ExitCode.OUT_OF_MEMORY
    trained, left, repeated = trials["hungry_in_predict"].folder.oom_reports
    assert json.loads(left.read_text())["lack"] == "host" and not trained.exists() and not repeated.exists()


def test_averaged_weights_are_unwrapped(trials: Trials, trained: dict[str, int], predicted: dict[str, int]) -> None:
    assert predicted["average"] == 0, log(trials["average"], "predict")


def test_test_time_augmentation_is_allowed_and_reported(trials: Trials, predicted: dict[str, int]) -> None:
    facts = {name: json.loads(trials[name].folder.predict_report.read_text()) for name in ("good", "two_views")}
    assert [facts[name]["passes_per_image"] for name in ("good", "two_views")] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("pickle_bomb", "not a checkpoint of torch.save"),
        ("tensor_bomb", "more or less than tensors"),
        ("zip_bomb", "is compressed"),
        ("other_shape", "does not fit build_model()"),
        ("learns_in_predict", "an optimiser took steps"),
        ("too_few_rows", "for 200 images"),
    ],
)
def test_hostile_hand_in_is_refused(trials: Trials, predicted: dict[str, int], name: str, reason: str) -> None:
    assert predicted[name] == 13
    assert reason in log(trials[name], "predict")
    assert not (trials[name].folder.logits).exists()
    assert not (trials[name].root / "exploded").exists()


def test_missing_data_and_missing_trial_are_named(trials: Trials, tmp_path: Path) -> None:
    assert stage_phase.run(tmp_path / "harness.json") == 1
    with pytest.raises(HarnessError, match=r"harness\.json"):
        load(tmp_path / "harness.json")
    absent = json.loads(trials["good"].folder.config.read_text()) | {"data_dir": str(tmp_path)}
    (tmp_path / "harness.json").write_text(json.dumps(absent))
    assert stage_phase.run(tmp_path / "harness.json") == 14
