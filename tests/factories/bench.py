"""One worker on a real repository and brain, asked step by step, and the answers of a model for its program."""

import re
import time
from collections.abc import Mapping

from factories.records import claim, finished, started, study_opened
from factories.settings import run_settings
from fakes.fake_llm import FakeLLM, Request, envelope
from fakes.tiny_study import TRAIN, TinyStudy

from swarm import verdict
from swarm.brain import Brain
from swarm.clock import SystemClock
from swarm.repo import Repo
from swarm.study.settings import ProposerSettings
from swarm.study.state import StudyState, Trial
from workers.background import Background
from workers.worker import Worker

RATE = "MAX_LR = 0.05  # search: log(1e-3, 1.0)"
DECAY = "WEIGHT_DECAY = 1e-4  # search: log(1e-5, 1e-2)"
KEY = {"OPENAI_API_KEY": "a-key-of-nobody"}


def faster(request: Request) -> str:
    return envelope(RATE, RATE.replace("0.05", "0.1"), cites=cited(request))


def lighter(request: Request) -> str:
    return envelope(DECAY, DECAY.replace("1e-4", "1e-3"), cites=cited(request))


def cited(request: Request) -> list[str]:
    return re.findall(r'"id": "(t\d+)"', request.prompt)[:1]


class Counting:
    """Another rate in each answer."""

    def __init__(self) -> None:
        self.answers = 0

    def __call__(self, request: Request) -> str:
        self.answers += 1
        return envelope(RATE, RATE.replace("0.05", f"{0.05 * 1.2**self.answers:.4g}"), cites=cited(request))


class Bench:
    """One worker and its study; the records of the other worker are written by hand."""

    def __init__(
        self,
        tiny: TinyStudy,
        server: FakeLLM | None = None,
        *,
        trials: int | None = None,
        chosen: ProposerSettings | None = None,
        secrets: Mapping[str, str] = KEY,
    ) -> None:
        self.server = server
        head = tiny.repo.git("rev-parse", "HEAD")
        if chosen is None:
            assert server is not None
            chosen = ProposerSettings(spec="openai", model="fake", base_url=server.url)
        self.settings = run_settings(
            tiny.root, study_id="s", base_commit=head, noise_replicates=2, trials=trials, proposers={"worker_1": chosen}
        )
        self.brain = Brain(tiny.brain)
        self.repo = Repo.open(tiny.root)
        self.brain.append(study_opened(study_id="s", base_commit=head, workers=1, trials=trials))
        self.worker = Worker(self.settings, "worker_1", SystemClock(), secrets)

    @property
    def study(self) -> StudyState:
        study = self.brain.snapshot().latest
        assert study is not None
        return study

    def finish(self, trial: Trial, loss: float) -> None:
        program = trial.claim.program
        commit = self.repo.refs("s").get(program, self.settings.base_commit)
        self.brain.append(
            started(trial.trial_id, study_id="s", commit=commit), finished(trial.trial_id, loss, study_id="s")
        )
        for reached in verdict.conclude(self.study, trial.trial_id):
            self.brain.append(reached.model_copy(update={"study_id": "s"}))

    def measure_noise(self) -> None:
        for loss in (2.0, 2.001):
            self.finish(self.worker.claim_baseline(), loss)

    def another_worker_finds(self, old: str, new: str, loss: float = 1.0) -> str:
        """A program of worker_2 that the study builds on from now on."""
        name = self.study.next_trial_id
        source = TRAIN.replace(old, new)
        assert source != TRAIN
        ref = f"refs/swarm/s/{name}"
        self.repo.commit_change(self.settings.base_commit, {"models/tiny/train.py": source}, name, ref)
        self.brain.append(claim(name, study_id="s", agent_id="worker_2", proposer="tpe", arm="tpe"))
        self.finish(self.study.trials[name], loss)
        assert self.study.incumbent is not None and self.study.incumbent.name == name
        return name

    def draft(self, limit_s: float = 60.0) -> Background:
        """The prepared draft, once it is there."""
        deadline = time.monotonic() + limit_s
        while self.background.leftover() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert self.background.leftover() is not None
        return self.background

    @property
    def background(self) -> Background:
        return self.worker.proposing.background
