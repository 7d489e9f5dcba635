"""A study whose proposals are drawn from the red team and from the list of bad answers.

It ends by itself, with a record for each of its trials. `make redteam`.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest
from fakes.fake_llm import Answer, FakeLLM, Request, Step, tune_a_constant
from fakes.redteam_programs.answers import BAD_ANSWERS, whole
from fakes.redteam_programs.catalogue import PROGRAMS, Kind
from fakes.redteam_programs.sly import passes, sly
from fakes.tiny_study import TinyStudy, make_tiny_study, write_script
from judge import Line, shortened

from swarm.records import TrialState
from swarm.trial.folder import remove_tree

TRIALS = 40
WALLTIME_S = 12.0
LEAST_HONEST_LOSS = 1.0
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
KEY = "sk-canary-0123456789abcdef"

pytestmark = [pytest.mark.redteam, pytest.mark.timeout(900)]


def drawn() -> dict[str, str]:
    """Hostile programs that the gate lets pass, some of each kind, in a fixed order."""
    able = {
        program.name: (program, sly(program.source)) for program in PROGRAMS if not program.honest and not program.alone
    }
    able = {name: found for name, found in able.items() if found[0].clock == "images" and passes(found[1])}
    lot = random.Random(40)
    chosen: dict[str, str] = {}
    for kind in Kind:
        names = sorted(name for name, (program, _) in able.items() if program.kind is kind)
        chosen |= {name: able[name][1] for name in lot.sample(names, min(len(names), 6))}
    names = list(chosen)
    lot.shuffle(names)
    return {name: chosen[name] for name in names}


def test_many_of_the_red_team_pass_the_gate() -> None:
    """Otherwise the study would show the gate alone."""
    found = drawn()
    kinds = Counter(next(program.kind for program in PROGRAMS if program.name == name) for name in found)
    assert len(found) >= 30 and len(kinds) >= 6, kinds


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Gone at the end, however deep: pytest's own way of removing it would not get through."""
    yield tmp_path
    remove_tree(tmp_path)


def test_a_night_of_hostile_proposals_ends_by_itself(folder: Path, table) -> None:
    tiny = make_tiny_study(folder, walltime_limit_s=WALLTIME_S)
    hostile = drawn()
    names = list(hostile)
    scripted, asked_for = names[: len(names) * 2 // 3], names[len(names) * 2 // 3 :]
    lines = [{"description": f"attack {name}", "source": hostile[name], "operator": "structural"} for name in scripted]
    script = write_script(folder / "attacks.jsonl", *lines)
    answers: list[Answer] = list(BAD_ANSWERS.values())
    attacks = cycle(whole(hostile[name], hypothesis=f"attack {name}", operator="structural") for name in asked_for)
    steps = [citing(step) for answer in answers for step in (answer, next(attacks))]
    with FakeLLM([*steps, tune_a_constant]) as server:
        workers = ("--worker", f"worker_1=scripted:{script}", "--worker", f"worker_2=openai:fake@{server.url}")
        done = tiny.swarm(
            "up", "--target", "tiny", "--data", "standin", "--device", "cpu", "--trials", str(TRIALS), *workers,
            timeout=840, OPENAI_API_KEY=KEY,
        )  # fmt: skip
        asked = len(server.requests)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    study = tiny.study()
    show(tiny, table, asked)
    assert len(study.trials) == TRIALS and not study.open_trials()
    assert all(trial.finished is not None for trial in study.trials.values())
    ended = Counter(trial.state for trial in study.trials.values())
    assert set(ended) <= {TrialState.COMPLETE, TrialState.FAILED}, ended
    assert study.restarts == {}, "no worker died of a proposal"
    losses = [trial.cost for trial in study.trials.values() if trial.cost is not None]
    assert min(losses) > LEAST_HONEST_LOSS, "nobody won without learning"
    attacks_run = [trial for trial in study.trials.values() if trial.claim.description.startswith("attack")]
    assert len(attacks_run) >= 10, "the red team really ran"
    assert asked >= 10 and study.rejections, "bad answers were really given"
    words = [trial.finished.detail or "" for trial in study.trials.values() if trial.finished]
    words += [refusal.detail for refusal in study.rejections] + [done.stdout, done.stderr]
    assert [text for text in words if _CONTROLS.search(text)] == [], "text from outside is safe to print"
    assert tiny.swarm("verify").returncode == 0
    assert tiny.processes() == [] and tiny.held_leases() == []
    assert KEY not in done.stdout + done.stderr


def citing(answer: Answer) -> Step:
    """The answer with a record of its prompt cited: for want of that it would be refused before anybody looks at it."""

    def step(request: Request) -> Answer:
        known = re.findall(r'"id": "(t\d+)"', request.prompt)
        return answer.replace('"cites": []', f'"cites": {json.dumps(known[:1])}') if isinstance(answer, str) else answer

    return step


def show(tiny: TinyStudy, table, asked: int) -> None:
    """A line of the table for each trial, and one for what never became a trial."""
    study = tiny.study()
    for trial in study.trials.values():
        ending = trial.finished
        words = "no ending" if ending is None else " ".join([str(ending.reason or trial.state), *ending.flags])
        detail = "" if ending is None else shortened(ending.detail or "")
        level = "-" if ending is None else str(ending.sandbox)
        name = f"{trial.trial_id} {trial.claim.description}"
        loss = "no score" if trial.cost is None else f"{trial.cost:.3f}"
        table.add(Line(name, "study", words, detail, level, loss, 0.0, () if ending else ("has no ending",)))
    refused = Counter(str(refusal.code) for refusal in study.rejections)
    text = ", ".join(f"{code} {count}" for code, count in refused.most_common())
    table.add(Line(f"{asked} answers, {len(study.rejections)} refused", "study", text, "", "-", "-", 0.0, ()))
