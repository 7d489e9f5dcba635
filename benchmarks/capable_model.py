"""What becomes of a capable model's edits: tried, kept, thrown away and why; none lost by a restart or at the end.

    python benchmarks/capable_model.py [--json]

A scripted model serves thirty structural edits over HTTP, with thinking parts, some that crash, some that repeat. Real
brain, git, gate, policy and client; two workers; the losses are made up (each edit has a true effect, and runs differ
by a standard deviation of 0.01), so nothing trains. Workers are replaced as after a kill every fifth trial, while a
draft waits; the study is stopped in the middle and goes on; the finals decide what is kept.
"""

import argparse
import json
import os
import random
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from factories.records import finished, started, study_opened
from factories.settings import run_settings
from fakes.fake_llm import FakeLLM, Request, completion, envelope
from fakes.tiny_study import make_tiny_study
from fakes.toy_swarm import QuickClock

from swarm import verdict
from swarm.brain import Brain
from swarm.errors import StaleSnapshot
from swarm.records import FailReason
from swarm.repo import Repo
from swarm.study.settings import ProposerSettings, RunSettings
from swarm.study.state import StudyState, Trial
from swarm.verdict.standing import Standing, standing
from workers.background import Background
from workers.loop import claim
from workers.worker import Worker

EDITS, SIGMA, BASE = 30, 0.01, 2.0
FIRST_TRIALS, TRIALS = 30, 80
RESTART_EVERY = 5
FILE = "models/tiny/train.py"


def program() -> str:
    parts = "".join(f"def part_{k:02}(x):\n    return x\n\n\n# behind part {k:02}\n\n\n" for k in range(EDITS))
    calls = "".join(f"    part_{k:02}(0)\n" for k in range(EDITS))
    end = f"def build_model():\n    return None\n\n\ndef main():\n{calls}    finish(build_model())\n"
    return f'"""Parts to be changed one by one."""\n\nfrom swarm.harness import finish\n\n\n{parts}{end}'


class Model:
    """Edit k changes part k: every fifth crashes at first, every seventh is sent twice, two of three help."""

    def __init__(self) -> None:
        self.lot = random.Random(11)
        crashes = {k for k in range(EDITS) if k % 5 == 3}
        self.effects = {k: -0.04 if k % 3 else 0.03 for k in range(EDITS)}
        self.queue = [k for k in range(EDITS) for _ in range(2 if k % 7 == 2 else 1)]
        self.crashes = crashes
        self.served: list[int] = []
        self.thought = 0

    def __call__(self, request: Request) -> object:
        broken = re.search(r"Your program (t\d+) failed in its own code", request.prompt)
        if broken:
            k = int(re.findall(r"^\+    return boom_(\d\d)\(x\)", request.prompt, re.MULTILINE)[-1])
            return self.answer(k, f"    return boom_{k:02}(x)", request, "mended")
        if not self.queue:
            return completion("<think>nothing comes to mind</think>I have no more ideas.")
        k = self.queue.pop(0)
        return self.answer(k, "    return x", request, "again" if k in self.served else "new")

    def answer(self, k: int, old: str, request: Request, word: str) -> object:
        first = word != "mended" and k in self.crashes
        new = f"    return boom_{k:02}(x)" if first else f"    return abs(x) + {k + 1}"
        cites = re.findall(r'^\{"id": "(t\d+)"', request.prompt, re.MULTILINE)[:1]
        text = envelope(
            f"def part_{k:02}(x):\n{old}",
            f"def part_{k:02}(x):\n{new}",
            hypothesis=f"idea {k:02}, {word}",
            cites=cites,
            family="architecture",
            operator="structural",
        )
        self.served.append(k)
        self.thought += 1
        draft = "<<<<<<< SEARCH\ndef main():\n=======\ndef nothing():\n>>>>>>> REPLACE"
        usage = {"prompt_tokens": len(request.prompt) // 4, "completion_tokens": len(text) // 4}
        if self.thought % 3 == 0:
            return completion(text, usage=usage, reasoning_content=f"I might write\n{draft}\nbut no.")
        thinking = f"<think>\nI might write\n{draft}\nbut no.\n</think>\n" if self.thought % 3 == 1 else ""
        return completion(thinking + text, usage=usage)

    def loss(self, source: str) -> float:
        changed = {int(k) for k in re.findall(r"def part_(\d\d)\(x\):\n    return abs", source)}
        return BASE + sum(self.effects[k] for k in changed) + self.lot.gauss(0, SIGMA)


class Study:
    def __init__(self, root: Path, url: str, model: Model) -> None:
        tiny = make_tiny_study(root)
        os.environ["SWARM_GPU_DIR"] = str(tiny.ledger)
        tiny.repo.write(FILE, program())
        head = tiny.repo.commit("parts")
        chosen = ProposerSettings(spec="openai", model="capable", base_url=url)
        self.model, self.repo, self.brain = model, Repo.open(tiny.root), Brain(tiny.brain)
        self.settings = run_settings(
            tiny.root, study_id="s", base_commit=head, noise_replicates=5, trials=FIRST_TRIALS, workers=2,
            proposers={"worker_1": chosen, "worker_2": chosen}, finals="off",
        )  # fmt: skip
        (tiny.root / ".swarm/studies/s").mkdir(parents=True)
        self.opened = study_opened(study_id="s", base_commit=head, workers=2, noise_replicates=5, trials=FIRST_TRIALS)
        self.brain.append(self.opened)
        self.restarts = 0

    @property
    def state(self) -> StudyState:
        return self.brain.snapshot().studies["s"]

    def run(self, settings: RunSettings) -> None:
        """Until nothing is owed any more; the workers' drafts are left as at the end of a run."""
        workers = [self._worker(settings, name) for name in settings.proposers]
        idle = done = 0
        while idle < 6:
            place = done % len(workers)
            assignment = workers[place].next_assignment()
            try:
                trial = claim(workers[place], assignment) if assignment is not None else None
            except StaleSnapshot:
                trial = None
            if trial is None:
                idle += 1
                done += assignment is None
                continue
            idle, done = 0, done + 1
            workers[place].prepare_next()
            self.finish(trial)
            if done % RESTART_EVERY == 0:
                wait(workers[place].proposing.background)
                workers[place] = self._worker(settings, workers[place].agent_id)
                self.restarts += 1
        for worker in workers:
            wait(worker.proposing.background)
            worker.close()

    def finish(self, trial: Trial) -> None:
        name, commit = trial.trial_id, self.repo.refs("s").get(trial.claim.program, self.settings.base_commit)
        source = self.repo.read(commit, FILE)
        boom = re.search(r"return (boom_\d\d)\(x\)", source)
        self.brain.append(started(name, study_id="s", commit=commit))
        if boom:
            detail = f"train.py line 3 in part: return {boom[1]}(x)\nNameError: name '{boom[1]}' is not defined"
            self.brain.append(finished(name, None, study_id="s", reason=FailReason.CRASHED, detail=detail))
            return
        self.brain.append(finished(name, self.model.loss(source), study_id="s"))
        for reached in verdict.conclude(self.state, name):
            self.brain.append(reached.model_copy(update={"study_id": "s"}))

    def _worker(self, settings: RunSettings, name: str) -> Worker:
        return Worker(settings, name, QuickClock(), {})


def wait(background: Background) -> None:
    background._thread.join(30) if background._thread is not None else None


def outcome(study: Study) -> dict[str, object]:
    """Each edit that was served, once, by the best that became of it."""
    state, served = study.state, sorted(set(study.model.served))
    by_edit: dict[int, list[str]] = {k: [] for k in served}
    for program_ in state.programs.values():
        if said := re.match(r"idea (\d\d)", program_.first.claim.description):
            by_edit[int(said[1])].append(standing(state, program_).value)
    thrown: Counter[str] = Counter()
    refused: dict[int, list[str]] = {k: [] for k in served}
    for refusal in state.rejections:
        if said := re.match(r"idea (\d\d)", refusal.description):
            refused[int(said[1])].append(refusal.code)
            thrown[refusal.code] += 1
    waiting = [
        json.loads(path.read_text())["proposal"]["description"]
        for path in (study.settings.layout.study("s") / "drafts").glob("*.json")
    ]
    waits = {int(text[5:7]) for text in waiting}
    good = (Standing.KEPT.value, Standing.LEADING.value, Standing.SUPERSEDED.value)
    best = [state.programs[name].first.claim.description for name in state.lineage]
    repaired = [p for p in state.programs.values() if p.first.claim.repairs]
    return {
        "answers": len(study.model.served),
        "edits": len(served),
        "tried": sum(bool(found) for found in by_edit.values()),
        "led_or_kept": sum(any(word in good for word in found) for found in by_edit.values()),
        "in_the_best_program": sum(text.startswith("idea") for text in best),
        "crashed_first": sum(k in study.model.crashes for k in served),
        "mended": sum(bool(p.costs) for p in repaired),
        "refused": dict(thrown),
        "waiting": len(waits),
        "lost": [k for k in served if not by_edit[k] and not refused[k] and k not in waits],
        "restarts": study.restarts,
        "trials": len(state.trials),
        "incumbent": round(state.incumbent.mean, 4) if state.incumbent and state.incumbent.mean else None,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON line (the default prints a table)")
    options = parser.parse_args()
    model = Model()
    with tempfile.TemporaryDirectory() as folder, FakeLLM([model]) as server:  # type: ignore[list-item]
        study = Study(Path(folder), server.url, model)
        study.run(study.settings)
        stopped = outcome(study)
        study.brain.append(study.opened.model_copy(update={"trials": TRIALS, "finals": "auto"}))
        study.run(study.settings.model_copy(update={"trials": TRIALS, "finals": "auto"}))
        ended = outcome(study)
    if options.json:
        print(json.dumps({"benchmark": "capable_model", "stopped": stopped, "ended": ended}))
    else:
        for name in ended:
            print(f"{name:<20} {stopped[name]!s:>30} {ended[name]!s:>40}")
    return 0 if not stopped["lost"] and not ended["lost"] else 1


if __name__ == "__main__":
    sys.exit(main())
