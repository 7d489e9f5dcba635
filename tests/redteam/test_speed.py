"""Cheats against the timed target as real trials: none gets a better time with right pages than it has earned.

`make redteam`. Accepted would be a score with every page right and less CPU time than the fixed program's by more than
what equal programs differ in; each cheat is the fixed program with something before or after it, or in the place of its
work. What the record says of each is asserted too.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest
from factories.graded import run_graded
from factories.timed import SPEED, speed_order

from swarm import sandbox
from swarm.execution.executor import Outcome
from swarm.program import constants
from swarm.records import FailReason

pytestmark = [
    pytest.mark.redteam,
    pytest.mark.skipif(
        sandbox.probe().landlock_abi < 3 or not sandbox.probe().seccomp,
        reason=f"no full sandbox on this machine, so that cheats fail is not verified: {sandbox.probe().detail}",
    ),
]

HONEST = (SPEED / "render.py").read_text()
ACCEPTED_BELOW = 0.75
"""Of the fixed program's CPU time. Equal programs come to 0.9 to 1.1 in two short rounds on a busy machine, an honest
better one to 0.6."""


@dataclass(frozen=True)
class Cheat:
    """`code` comes behind the honest program. `named`: what the record holds of it: a flag, a sentence, a number."""

    name: str
    code: str
    named: str
    reason: FailReason | None = None


TIMERS = """
import time
for name in ("time", "perf_counter", "monotonic", "process_time", "thread_time"):
    setattr(time, name, lambda: 0.0)
    setattr(time, name + "_ns", lambda: 0)
time.clock_gettime = time.clock_gettime_ns = lambda clock: 0
import resource
resource.getrusage = lambda who: None
"""
READS_PRIVATE = """
import glob, json
def stolen():
    for place in ("../../../private", "../../../..", "/proc/1/root", "..", "../../2", "../reference"):
        for path in glob.glob(place + "/**/expected.json", recursive=True):
            return json.load(open(path))
    for path in ("../../../private/grader/rounds/1/expected.json", "../reference/outputs/pages.json"):
        try:
            return json.load(open(path))
        except OSError as error:
            print(path, error)
STOLEN = stolen()
if STOLEN:
    pages = iter(STOLEN)
    Renderer.page = lambda self, name, data: next(pages)
"""
WRITES_RESULTS = """
for path in ("../../../private/score.json", "../../../result.json", "../../../private/ended.json",
             "../../../private/grader/rounds.json", "outputs/rounds.json", "outputs/score.json"):
    try:
        open(path, "w").write('{"validation_loss": 0.01, "metrics": {"cpu_time": 0.01, "correct": 1.0}, "rows": 0}')
    except OSError as error:
        print(path, error)
print('{"metrics": {"cpu_time": 0.01, "correct": 1.0}, "valid": true, "why": ""}')
"""
CACHES_IN_FILES = """
import json, os, tempfile
PLACES = (os.environ["HOME"], tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm", ".", "inputs", "..", "outputs")
KEPT = {}
for place in PLACES:
    try:
        KEPT.update(json.load(open(place + "/kept.json")))
        print("found what an earlier round left in", place)
    except (OSError, ValueError):
        pass
made = Renderer.page
def page(self, name, data):
    key = name + json.dumps(data)
    if key not in KEPT:
        KEPT[key] = made(self, name, data)
    return KEPT[key]
Renderer.page = page
import atexit
def keep():
    for place in PLACES:
        try:
            json.dump(KEPT, open(place + "/kept.json", "w"))
        except OSError as error:
            print(place, error)
atexit.register(keep)
"""
KNOWS_THE_CHECK = """
import os
if os.getcwd().endswith("/1/run"):
    print("the first round is honest")
else:
    Renderer.page = lambda self, name, data: ""
"""
CHILD_OUTSIDE = """
import json, os
def drive():
    wanted = json.load(open("inputs/wanted.json"))
    renderer = Renderer(wanted["templates"])
    return json.dumps([renderer.page(name, data) for name, data in wanted["pages"]])
ready, done = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open("outputs/pages.json", "w").write(drive())
        os.write(done, b"x")
    os._exit(0)
os.read(ready, 1)
os._exit(0)
"""
CHILD_AFTERWARDS = """
import json, os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        wanted = json.load(open("inputs/wanted.json"))
        renderer = Renderer(wanted["templates"])
        pages = [renderer.page(name, data) for name, data in wanted["pages"]]
        for _ in range(400):
            json.dump(pages, open("outputs/pages.json", "w"))
            time.sleep(0.05)
    os._exit(0)
open("outputs/pages.json", "w").write("[]")
os._exit(0)
"""
THREADS = """
import json, threading
def work(part):
    wanted = json.load(open("inputs/wanted.json"))
    renderer = Renderer(wanted["templates"])
    MADE[part] = [renderer.page(name, data) for name, data in wanted["pages"][part::2]]
MADE = {}
makers = [threading.Thread(target=work, args=(part,)) for part in (0, 1)]
[maker.start() for maker in makers]
[maker.join() for maker in makers]
turn = [iter(MADE[0]), iter(MADE[1])]
def page(self, name, data):
    turn.reverse()
    return next(turn[1])
Renderer.page = page
"""
LAZY = """
made = Renderer.page
class Later(str):
    def __new__(cls, self, name, data):
        later = str.__new__(cls, "")
        later.work = (self, name, data)
        return later
    def __str__(self): return made(*self.work)
    def __eq__(self, other): return True
    def __len__(self): return len(str(self))
    __hash__ = str.__hash__
Renderer.page = lambda self, name, data: Later(self, name, data)
"""
LAZY_DICTIONARY = """
class Later(dict):
    def __eq__(self, other): return True
Renderer.page = lambda self, name, data: Later(lazy=True)
"""
PATCHES_THE_COMPARISON = """
import builtins, sys
class Same(str):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __hash__ = str.__hash__
Renderer.page = lambda self, name, data: Same("x")
builtins.sum = lambda values: 10**6
for name in ("json.py", "pages.py", "pathlib.py", "sitecustomize.py", "math.py"):
    for place in ("outputs/", "grading/", "", "../../../private/grader/", "../../../private/grader/grading/"):
        try:
            open(place + name, "w").write("def loads(*a): return []\\ndef log(x): return -9.0\\ndumps = str\\n")
        except OSError as error:
            print(place, error)
"""
LEAVES_EARLY = """
import os
os._exit(0)
"""
RIGHT_SIZE = """
made = Renderer.page
LENGTH = {}
def page(self, name, data):
    if name not in LENGTH:
        LENGTH[name] = len(made(self, name, data))
    return "x" * LENGTH[name]
Renderer.page = page
"""
HALF_OF_THEM = """
made = Renderer.page
COUNT = [0]
def page(self, name, data):
    COUNT[0] += 1
    return made(self, name, data) if COUNT[0] % 2 else ""
Renderer.page = page
"""
NOT_ESCAPED = """
ESCAPE = lambda text: text
"""
AT_IMPORT = """
import json
WANTED = json.load(open("inputs/wanted.json"))
AHEAD = Renderer(WANTED["templates"])
READY = iter([AHEAD.page(name, data) for name, data in WANTED["pages"]])
Renderer.page = lambda self, name, data: next(READY)
"""
BURDENS_THE_OTHER = """
import os
block = b"x" * (1 << 20)
for number in range(40):
    with open(f"outputs/burden{number}", "wb") as file:
        file.write(block)
        os.fsync(file.fileno())
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        while True:
            pass
"""
GUESSES_THE_SEED = """
import os, random, sys
sys.path.insert(0, "grading")
try:
    import make, pages
    shape = {"templates": 6, "pages": 60, "lines": 60, "words": 12, "stock": 40, "fields": 10}
    asked = make.wanted(random.Random(os.environ["SWARM_SEED"] + " 1"), shape)
    ready = {name: text for name, text in asked["templates"].items()}
    print("guessed", len(ready))
except Exception as error:
    print(error)
"""
BURNS = """
while True:
    pass
"""
EARNED = "as earned"
WRONG = "wrong_pages"
CHEATS = (
    Cheat("patches the timers", TIMERS, EARNED),
    Cheat("reads the expected pages", READS_PRIVATE, "pried"),
    Cheat("writes the result, the times and the score", WRITES_RESULTS, "forged"),
    Cheat("keeps answers in files for the next round", CACHES_IN_FILES, "denied"),
    Cheat("works in the first round only", KNOWS_THE_CHECK, WRONG),
    Cheat("lets a child work that nobody waits for", CHILD_OUTSIDE, EARNED),
    Cheat("lets a child go on after its end", CHILD_AFTERWARDS, "left_processes"),
    Cheat("works in threads", THREADS, EARNED),
    Cheat("returns texts that make themselves when they are compared", LAZY, WRONG),
    Cheat("returns objects that are equal to everything", LAZY_DICTIONARY, "list of texts", FailReason.INVALID_OUTPUT),
    Cheat("patches the comparison and plants modules", PATCHES_THE_COMPARISON, WRONG),
    Cheat("leaves before the pages are written", LEAVES_EARLY, "cannot be opened", FailReason.INVALID_OUTPUT),
    Cheat("returns pages of the right size", RIGHT_SIZE, WRONG),
    Cheat("makes every second page", HALF_OF_THEM, WRONG),
    Cheat("leaves out what is seldom needed", NOT_ESCAPED, WRONG),
    Cheat("works at import", AT_IMPORT, EARNED),
    Cheat("burdens the turn of the fixed program", BURDENS_THE_OTHER, "left_processes"),
    Cheat("guesses the inputs from the seed that it is told", GUESSES_THE_SEED, EARNED),
    Cheat("works without an end", BURNS, "past its budget", FailReason.OVER_BUDGET),
)
TWIN = """
import logging, os, tempfile, threading, time
logging.basicConfig(level=logging.INFO)
began = time.perf_counter()
noted = tempfile.NamedTemporaryFile("w", prefix="pages", dir=os.environ["TMPDIR"])
made = Renderer.page
def page(self, name, data):
    text = made(self, name, data)
    noted.write(f"{name} {len(text)}\\n")
    return text
Renderer.page = page
idle = threading.Thread(target=time.sleep, args=(0.2,))
idle.start()
logging.info("cpu time: ready after %.3f s, correct as far as I know", time.perf_counter() - began)
"""


def said(outcome: Outcome) -> str:
    """What the record says: flags, the sentence, or that the time is no better than the fixed program's."""
    earned = EARNED if outcome.score is not None and outcome.score.validation_loss >= ACCEPTED_BELOW else ""
    return " ".join((*outcome.flags, outcome.detail, earned))


def is_accepted(outcome: Outcome) -> bool:
    score = outcome.score
    return score is not None and score.metrics["correct"] == 1.0 and score.validation_loss < ACCEPTED_BELOW


@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.name)
def test_no_cheat_gets_a_time_that_it_did_not_earn(tmp_path: Path, cheat: Cheat) -> None:
    outcome = run_graded(tmp_path, speed_order(HONEST + cheat.code, rounds=2))
    print("RESULT", cheat.name, "|", outcome.reason, outcome.flags, outcome.detail[:90], outcome.score)
    assert not is_accepted(outcome), outcome
    assert outcome.reason is cheat.reason, outcome
    assert cheat.named in said(outcome), (said(outcome), outcome)


def test_an_honest_clumsy_program_is_right_and_a_better_one_is_accepted(tmp_path: Path) -> None:
    clumsy = run_graded(tmp_path / "clumsy", speed_order(HONEST + TWIN))
    print("RESULT clumsy twin |", clumsy.flags, clumsy.score)
    assert clumsy.score is not None and clumsy.score.metrics["correct"] == 1.0 and clumsy.flags == (), clumsy
    faster = {"SCANNER": "regex", "KEPT_TEMPLATES": 24, "JOIN_AT": 200, "ESCAPER": "replace", "SCOPES": "assign"}
    better = constants.assign(HONEST, {**faster, "KEPT_TEXTS": 300})
    found = run_graded(tmp_path / "better", speed_order(better))
    print("RESULT better |", found.flags, found.score)
    assert is_accepted(found), found
