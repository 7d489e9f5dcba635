"""A trial's wall time outside training, item by item, against a plain `python train.py`.

    python benchmarks/overhead.py [--json] [--runs N]

zygote    a whole trial through the executor, its processes forked from a warm one: what `swarm up` does
spawn     the same with a fresh interpreter for each trial
baseline  one fresh interpreter that imports torch and torchvision, loads the data, trains the same program for the
          same budget and evaluates it on the validation images in the same process: no sandbox, no record

The program is models/resnext with its CPU constants and a short budget of images, on the stand-in data. The three are
run in turn, N times after one round that is not counted. `start-up` is all before the first training step. An item that
the baseline does not have has no ratio. Seconds of wall time, p50 and p95; other load of the machine is in them.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from trials import order_of, outcome_of

from swarm.admission import AdmissionController
from swarm.clock import SystemClock
from swarm.execution.local import LocalExecutor
from swarm.gpu import detect_probe
from swarm.harness.prepare import prepare
from swarm.program import constants
from swarm.records import Budget
from swarm.repo import Repo
from swarm.study.settings import RunSettings
from swarm.supervisor import Zygote
from swarm.target.file import load_target
from swarm.trial.contract import CONFIG_VARIABLE, code_root, harness_sha256

Items = dict[str, float]

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = 1280
STUDY = "overhead"
TARGET = "models/resnext"
START_UP = ("launch", "import", "data", "build", "compile", "warmup")
PLAIN = """
import time
import torch, torchvision
from swarm.harness import config, train_phase
from swarm.harness.layout import Layout
from swarm.harness.loop import forward
began_here = time.monotonic()
assert train_phase.run() == 0
trained = time.monotonic()
import sys
trial, model = config.load(), sys.modules["program"].build_model()
model.load_state_dict(torch.load(trial.folder.weights, weights_only=True))
layout = Layout(trial.data_dir)
logits = forward(model, torch.from_numpy(layout.read(layout.images("val"))), 500)
labels = torch.from_numpy(layout.read(layout.labels("val")).astype("int64"))
print("val_loss:", float(torch.nn.functional.cross_entropy(logits, labels)))
(trial.root / "evaluation_s").write_text(str(time.monotonic() - trained))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="JSON lines only; they are printed in any case")
    parser.add_argument("--runs", type=int, default=7, help="at least 2")
    runs = max(2, parser.parse_args().runs)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        try:
            ways: dict[str, Callable[[], Items]] = {"zygote": bench.zygote, "spawn": bench.spawn, "plain": bench.plain}
            rounds = [{name: measure() for name, measure in ways.items()} for _ in range(runs + 1)][1:]
        finally:
            bench.close()
    for way in ("zygote", "spawn"):
        report(way, [one[way] for one in rounds], [one["plain"] for one in rounds])


class Bench:
    """A repository with the target in it, and what is needed to run trials of it."""

    def __init__(self, folder: Path) -> None:
        self._repo = make_repository(folder / "repo")
        self._settings = make_settings(self._repo)
        self._admission = AdmissionController(folder / "ledger", detect_probe("cpu"), SystemClock())
        self._trials = 0
        path = (str(code_root()),)
        self._zygote = Zygote.start("swarm.harness.preload", folder / "zygote.sock", pythonpath=path)

    def close(self) -> None:
        self._zygote.stop()

    def zygote(self) -> Items:
        return self._trial(self._zygote.socket_path)

    def spawn(self) -> Items:
        return self._trial(None)

    def plain(self) -> Items:
        """The training of the last trial once more, as a process of nobody's."""
        folder = self._settings.layout.trial(STUDY, f"t{self._trials:04}")
        shutil.rmtree(folder.train_out, ignore_errors=True)
        folder.make()
        for name, content in self._repo.files(self._repo.head(), TARGET).items():
            (folder.program / name).write_bytes(content)
        environment = {
            **os.environ,
            CONFIG_VARIABLE: str(folder.config),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": str(self._settings.threads),
        }
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", PLAIN], env=environment, cwd=folder.root, check=True, stdout=subprocess.DEVNULL
        )
        wall_s = time.perf_counter() - began
        told = json.loads(folder.train_report.read_text())
        items: Items = {**told["overhead_s"], "predict": float((folder.root / "evaluation_s").read_text())}
        total_s = wall_s - told["wall_seconds"]
        return {**items, "teardown": total_s - sum(items.values()), "total": total_s}

    def _trial(self, socket: Path | None) -> Items:
        self._trials += 1
        settings = self._settings
        trials, trial_id = settings.layout.trials(STUDY), f"t{self._trials:04}"
        executor = LocalExecutor(trials, settings.data_dir, self._admission, SystemClock(), zygote=socket)
        order = order_of(settings, self._repo, trial_id, self._repo.head())
        began = time.perf_counter()
        outcome = outcome_of(executor, order)
        wall_s = time.perf_counter() - began
        used = outcome.resources
        if outcome.score is None or used is None or used.wall_s is None:
            raise SystemExit(f"the trial failed: {outcome.detail}")
        told = json.loads(settings.layout.trial(STUDY, trial_id).train_report.read_text())
        wall_s -= used.probe_s or 0.0
        return {**used.overhead_s, "launch": wall_s - used.wall_s, "total": wall_s - told["wall_seconds"]}


def make_repository(root: Path) -> Repo:
    root.mkdir()
    profile = load_target("resnext", ROOT).profiles.cpu
    shutil.copytree(ROOT / TARGET, root / TARGET, ignore=shutil.ignore_patterns("__pycache__"))
    program = root / TARGET / "train.py"
    program.write_text(constants.assign(program.read_text(), profile.constants))
    user = ("-c", "user.name=bench", "-c", "user.email=bench@example.org")
    for command in (("init", "-q"), ("add", "--all"), (*user, "commit", "-q", "--no-verify", "-m", "target")):
        subprocess.run(["git", *command], cwd=root, check=True)
    return Repo.open(root)


def make_settings(repo: Repo) -> RunSettings:
    return RunSettings(
        study_id=STUDY,
        root=repo.root,
        brain=repo.root / "swarm_brain.jsonl",
        target="resnext",
        target_folder=TARGET,
        editable="train.py",
        base_commit=repo.head(),
        program_text="",
        device="cpu",
        dataset="standin",
        data_dir=prepare("standin").layout.root,
        classes=100,
        budget=Budget(kind="samples", amount=SAMPLES, walltime_limit_s=120),
        memory_mib=1200,
        threads=1,
        workers=1,
        seed=1,
        noise_replicates=3,
        trials=None,
        deadline_at=None,
        proposers={},
        harness_sha256=harness_sha256(),
    )


def report(way: str, ours: list[Items], baseline: list[Items]) -> None:
    for items in (*ours, *baseline):
        items["start-up"] = sum(items.get(name, 0.0) for name in START_UP)
    names = ["total", "start-up", *(name for name in ours[0] if name not in ("total", "start-up"))]
    for name in names:
        for quantile in ("p50", "p95") if name in ("total", "start-up") else ("p50",):
            mine, theirs = (at(quantile, [items.get(name, 0.0) for items in side]) for side in (ours, baseline))
            figure = {"bench": f"overhead {name}, {way}, {quantile}", "ours": round(mine, 3)}
            ratio = round(mine / theirs, 3) if theirs > 0.0 else None
            print(json.dumps({**figure, "baseline": round(theirs, 3), "ratio": ratio, "unit": "s", "n": len(ours)}))


def at(quantile: str, values: list[float]) -> float:
    """The median, or the 95th percentile by linear interpolation."""
    return (
        statistics.median(values) if quantile == "p50" else statistics.quantiles(values, n=20, method="inclusive")[-1]
    )


if __name__ == "__main__":
    main()
