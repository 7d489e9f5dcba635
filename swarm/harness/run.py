"""Runs one trial by hand: all four phases of a target, each as a process of its own, and prints the score.

    python -m swarm.harness.run models/resnext [--profile cpu|gpu] [--seed 1] [--budget 20] [--budget-kind seconds]
                                                [--set MAX_LR=0.1] [--dataset auto|cifar100|kjv|standin] [--json]

No sandbox, no supervisor, no record: that is `swarm up`. This is for writing a target and for benchmarks.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from swarm.harness.errors import HarnessError
from swarm.harness.layout import Layout
from swarm.harness.prepare import Dataset, prepare
from swarm.trial.asked import Harness
from swarm.trial.config import BudgetKind, Split, TrialConfig, WorkBudget
from swarm.trial.contract import CONFIG_VARIABLE, TRIAL_PHASES, Phase, code_root
from swarm.trial.folder import TrialFolder

_KINDS: Mapping[str, BudgetKind] = {"work": "solo_seconds", "time": "seconds", "samples": "samples"}


@dataclass(frozen=True)
class Plan:
    """One trial: whose program, with which constants, under which seed and budget."""

    target: Path
    profile: Literal["cpu", "gpu"] = "cpu"
    seed: int = 1
    budget: WorkBudget | None = None
    constants: Mapping[str, str] | None = None
    split: Split = "val"
    rungs: tuple[float, ...] = ()


def run_trial(plan: Plan, layout: Layout, folder: Path) -> dict[str, float]:
    """Runs all phases in `folder`; returns the score. Raises HarnessError with the end of the log of what failed."""
    config = lay_out(plan, layout, folder)
    for phase in TRIAL_PHASES:
        code = run_phase(config, phase)
        if code != 0:
            log = config.folder.log_text(phase)
            raise HarnessError(f"{phase} of {plan.target.name} exited with {code}:\n{log[-2000:]}")
        if phase is Phase.TRAIN:
            _take_rungs(config)
    score: dict[str, float] = json.loads((config.folder.score).read_text())
    return score


def _take_rungs(config: TrialConfig) -> None:
    """What a supervisor does while the training runs."""
    for percent in (round(100 * fraction) for fraction in config.rungs):
        if config.folder.rung_logits(percent).exists():
            shutil.copy(config.folder.rung_logits(percent), config.folder.taken_rung(percent))


def lay_out(plan: Plan, layout: Layout, folder: Path) -> TrialConfig:
    """Makes a trial's folder: program with its constants set, harness.json, empty outputs."""
    target = tomllib.loads((plan.target / "target.toml").read_text())
    profile, editable = target["profile"][plan.profile], target["editable"][0]
    config = TrialConfig(
        trial_id="t0001",
        study_id="by-hand",
        seed=plan.seed,
        device="cuda" if plan.profile == "gpu" else "cpu",
        threads=profile["threads"],
        data_dir=layout.root,
        root=folder,
        budget=plan.budget or WorkBudget(_KINDS[target["budget"]["kind"]], profile["budget"]),
        editable=editable,
        split=plan.split,
        rungs=plan.rungs,
        harness=target.get("harness", "images"),
    )
    config.folder.make()
    wanted = {**profile.get("constants", {}), **(plan.constants or {})}
    config.program_file.write_text(with_constants((plan.target / editable).read_text(), wanted))
    config.folder.config.write_text(config.to_json())
    return config


def harness_of(target: Path) -> Harness:
    """What kind of data the target's programs train on."""
    harness: Harness = tomllib.loads((target / "target.toml").read_text()).get("harness", "images")
    return harness


def run_phase(config: TrialConfig, phase: Phase) -> int:
    """One phase as a process, its output in logs/<phase>.log; returns its exit code."""
    path = [str(code_root()), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        CONFIG_VARIABLE: str(config.folder.config),
        "PYTHONPATH": os.pathsep.join(path),
        "OMP_NUM_THREADS": str(config.threads),
    }
    command = [sys.executable, "-P", "-m", phase.module]
    with (config.folder.log(phase)).open("wb") as log:
        return subprocess.run(
            command, cwd=config.folder.program, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False
        ).returncode


def with_constants(source: str, constants: Mapping[str, object]) -> str:
    """Sets `NAME = literal` lines of a program, comments kept. Raises HarnessError for a name it does not declare."""
    for name, value in constants.items():
        literal = value if isinstance(value, str) else repr(value)
        declaration = re.compile(rf"^{re.escape(name)} = [^#\n]*?(?=[ \t]*(#|$))", re.MULTILINE)
        source, count = declaration.subn(f"{name} = {literal}".replace("\\", r"\\"), source)
        if count != 1:
            raise HarnessError(f"the program declares {name} {count} times, expected once at the top of the file")
    return source


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m swarm.harness.run")
    parser.add_argument("target", type=Path)
    parser.add_argument("--profile", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--budget", type=float)
    parser.add_argument("--budget-kind", choices=get_args(BudgetKind), default="solo_seconds")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="constants")
    parser.add_argument("--dataset", choices=get_args(Dataset), default="auto")
    parser.add_argument("--split", choices=get_args(Split), default="val")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    plan = Plan(
        target=options.target,
        profile=options.profile,
        seed=options.seed,
        budget=None if options.budget is None else WorkBudget(options.budget_kind, options.budget),
        constants=dict(pair.split("=", 1) for pair in options.constants),
        split=options.split,
    )
    folder = Path(tempfile.mkdtemp(prefix="swarm-by-hand-"))
    try:
        prepared = prepare(options.dataset, harness=harness_of(plan.target))
        score = run_trial(plan, prepared.layout, folder)
        log = TrialFolder(folder).log_text(Phase.TRAIN)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(score) if options.json else log + "".join(f"{name}: {value}\n" for name, value in score.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
