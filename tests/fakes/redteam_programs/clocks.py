# ruff: noqa: E501 - lines of programs, in quotes
"""Work off the clock: training that nobody counts, wherever a candidate's code runs."""

from fakes.redteam_programs.build import SLOW, WORK, Clock, Kind, Program, hostile

EXTRA_S = 8.0

# `keep(model)`: the weights of a twin that was trained elsewhere come into the model at the first step that counts.
TWIN = f"""
EXTRA = {EXTRA_S}
TWINS, DONE = [], []

def once(action):
    if not DONE:
        DONE.append(1)
        action()

def grown(seconds=EXTRA):
    twin = Linear()
    work(twin, seconds)
    TWINS.append(twin)

def keep(model):
    if TWINS and clock.step >= 1:
        model.load_state_dict(TWINS.pop().state_dict())
"""

# Forked training: the child leaves weights in a file, and the parent sleeps until they are there.
CHILD = """
import signal

PATH = os.environ.get("TMPDIR", "/tmp") + "/child.pt"

def grow_and_save():
    twin = Linear()
    work(twin, EXTRA)
    torch.save(twin.state_dict(), PATH + ".part")
    os.rename(PATH + ".part", PATH)

def in_child(action):
    if os.fork() == 0:
        try:
            action()
        finally:
            os._exit(0)

def fetch(model):
    until = time.monotonic() + 5 * EXTRA
    while not os.path.exists(PATH) and time.monotonic() < until:
        time.sleep(0.05)
    if os.path.exists(PATH):
        model.load_state_dict(torch.load(PATH, weights_only=True))
"""

# Training images that travel to `predict` inside the weights.
STASH = """
class Stash:
    def __init__(self, model):
        self.images, self.labels = model.kept_images, model.kept_labels.long()

    def __len__(self):
        return len(self.images)

def train_on_stash(model, seconds=EXTRA):
    if in_predict():
        once(lambda: work(model, seconds, Stash(model)))
"""
STASH_INIT = """
self.register_buffer("kept_images", torch.zeros(8000, 3, 32, 32, dtype=torch.uint8))
self.register_buffer("kept_labels", torch.zeros(8000, dtype=torch.uint8))
"""
STASH_FILL = "model.kept_images.copy_(train.images[::5][:8000])\nmodel.kept_labels.copy_(train.labels[::5][:8000])"
GROWN = WORK + TWIN


def _stashing(base: str, **code: str) -> str:
    top = GROWN + CHILD + STASH + code.pop("top", "")
    return hostile(base, top=top, init=STASH_INIT, end=STASH_FILL, **code)


def _programs(base: str) -> dict[str, str]:
    return {
        "before_the_clock": hostile(base, top=GROWN, main="grown()", step="keep(model)"),
        "in_warm_up": hostile(base, top=GROWN, step="once(grown)\nkeep(model)"),
        "when_the_warm_up_is_put_back": hostile(
            base,
            top=GROWN,
            method="def load_state_dict(self, *content, **how):\n"
            "    if not in_predict() and not TWINS and len(DONE) < 2:\n        once(grown)\n        DONE.append(2)\n"
            "    return super().load_state_dict(*content, **how)\n",
            step="keep(model)",
        ),
        "after_the_clock": hostile(base, top=GROWN, end="work(model, EXTRA)"),
        "in_state_dict_of_finish": hostile(
            base,
            top=GROWN,
            method="def state_dict(self, *place, **how):\n"
            "    if clock.step and not in_predict():\n        once(lambda: work(self, EXTRA))\n"
            "    return super().state_dict(*place, **how)\n",
        ),
        "in_detach_of_a_parameter": hostile(
            base,
            top=GROWN
            + "class Busy(nn.Parameter):\n"
            "    @classmethod\n"
            "    def __torch_function__(cls, function, types, arguments=(), how=None):\n"
            "        with torch._C.DisableTorchFunctionSubclass():\n"
            "            if function is torch.Tensor.detach and TWINS:\n"
            "                work(TWINS.pop(), EXTRA)\n"
            "            return function(*arguments, **(how or {}))\n",
            end="TWINS.append(model)\nmodel.classifier.bias = Busy(model.classifier.bias.data)",
        ),
        "after_finish": hostile(
            base, top=GROWN, after="work(model, EXTRA)\ntorch.save(model.state_dict(), '../train_out/weights.pt')"
        ),
        "in_a_thread": hostile(
            base,
            top=GROWN,
            main="helper = threading.Thread(target=lambda: grown(3 * EXTRA), daemon=True)\nhelper.start()",
            end="helper.join(3 * EXTRA + 5)\nkeep(model)",
        ),
        "in_atexit_and_threads_that_stay": hostile(
            base,
            top=GROWN
            + "import atexit\n"
            "def more(model):\n    work(model, EXTRA)\n"
            "    torch.save(model.state_dict(), '../train_out/weights.pt')\n",
            after="atexit.register(more, model)\nthreading.Thread(target=more, args=(model,)).start()",
        ),
        "in_children_that_nobody_waits_for": hostile(
            base,
            top=GROWN + CHILD,
            main="signal.signal(signal.SIGCHLD, signal.SIG_IGN)\nin_child(grow_and_save)",
            end="fetch(model)",
        ),
        "in_orphans": hostile(
            base,
            top=GROWN + CHILD,
            main="signal.signal(signal.SIGCHLD, signal.SIG_IGN)\nin_child(lambda: (os.setsid(), in_child(grow_and_save)))",
            end="fetch(model)",
        ),
        "in_a_new_interpreter": hostile(
            base,
            top=GROWN + CHILD + "import subprocess, sys",
            main="signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
            "code = 'import sys; sys.path.insert(0, \".\"); import train; train.grow_and_save()'\n"
            "subprocess.Popen([sys.executable, '-P', '-c', code], start_new_session=True)",
            end="fetch(model)",
        ),
        "in_a_child_that_outlives_the_phase": hostile(
            base,
            top=GROWN
            + CHILD
            + "def for_ever(model):\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    os.setsid()\n"
            "    while True:\n        work(model, 0.2)\n"
            "        torch.save(model.state_dict(), '../train_out/.w')\n"
            "        os.rename('../train_out/.w', '../train_out/weights.pt')\n",
            after="in_child(lambda: for_ever(model))\ntime.sleep(1.0)",
        ),
        "in_load_state_dict_of_predict": _stashing(
            base,
            method="def load_state_dict(self, *content, **how):\n"
            "    answer = super().load_state_dict(*content, **how)\n"
            "    train_on_stash(self)\n    self.eval()\n    return answer\n",
        ),
        "in_forward_of_predict": _stashing(base, forward="if not self.training:\n    train_on_stash(self)\n    self.eval()"),
        "in_build_model_of_predict": _stashing(
            base,
            top="INSTEAD = []\n"
            "def earlier():\n    model = Linear()\n"
            "    model.load_state_dict(torch.load('../train_out/weights.pt', weights_only=True))\n"
            "    train_on_stash(model)\n    INSTEAD.append(model.eval())\n",
            build="if in_predict() and not INSTEAD and not DONE:\n    earlier()",
            forward="if INSTEAD and self is not INSTEAD[0]:\n    return INSTEAD[0](images)",
        ),
        "in_unwaited_children_of_predict": _stashing(
            base,
            forward="if not self.training and in_predict() and not DONE:\n"
            "    DONE.append(1)\n    signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
            "    in_child(lambda: (work(self, EXTRA, Stash(self)), torch.save(self.state_dict(), PATH)))\n"
            "    fetch(self)\n    self.eval()",
        ),
        "in_rung_evaluations": hostile(
            base,
            top=GROWN,
            main="TWINS.append(Linear())",
            forward="if not self.training and not in_predict() and self is not TWINS[0]:\n    work(TWINS[0], 0.45)",
            end="model.load_state_dict(TWINS[0].state_dict())",
        ),
    }  # fmt: skip


# Steps without an optimiser, always the same ones: two processes that take them come to the same weights.
BY_HAND = """
def by_hand(model, source, steps, first=0):
    from swarm.harness.augment import normalise
    generator = torch.Generator().manual_seed(5 + first)
    with torch.inference_mode(False), torch.enable_grad():
        model.train()
        for _ in range(steps):
            rows = torch.randint(len(source), (64,), generator=generator)
            loss = F.cross_entropy(model(normalise(source.images[rows])), source.labels[rows])
            for parameter, slope in zip(model.parameters(), torch.autograd.grad(loss, list(model.parameters()))):
                parameter.data -= MAX_LR * slope
"""

# What the process says of itself, written again after it was handed in: little work, and all of it on the clock.
TELLS_LESS = """
import json, pathlib

def tell_less(**facts):
    report = pathlib.Path("../train_out/train.json")
    report.write_text(json.dumps({**json.loads(report.read_text()), **facts}))
"""
_FEW_STEPS = "tell_less(off_clock_steps=0, optimizer_steps=47, loop_cpu_seconds=1e6, steps=47, samples=3008)"


def _priced() -> dict[str, tuple[str, Clock]]:
    """Against prices: of a prediction, of a step, of what the process says that it took."""
    little = _stashing(
        SLOW,
        top=BY_HAND,
        method="def load_state_dict(self, *content, **how):\n"
        "    answer = super().load_state_dict(*content, **how)\n"
        "    if in_predict():\n        once(lambda: by_hand(self, Stash(self), 150))\n        self.eval()\n"
        "    return answer\n",
    )
    before_forward = _stashing(
        SLOW,
        top=BY_HAND,
        forward="if not self.training and in_predict():\n"
        "    once(lambda: by_hand(self, Stash(self), 150))\n    self.eval()",
    )
    return {
        "a_little_in_predict_the_same_each_time": (little, "images"),
        "a_little_in_predict_the_same_each_time_for_a_budget": (little, "seconds"),
        "a_little_in_forward_the_same_each_time": (before_forward, "images"),
        "a_little_in_forward_the_same_each_time_for_a_budget": (before_forward, "seconds"),
        "after_the_clock_and_tells_less": (
            hostile(SLOW, top=GROWN + TELLS_LESS, end="work(model, EXTRA)", after=_FEW_STEPS),
            "images",
        ),
        "by_hand_after_the_clock_and_tells_less": (
            hostile(SLOW, top=GROWN + BY_HAND + TELLS_LESS, end="by_hand(model, train, 400)", after=_FEW_STEPS),
            "images",
        ),
        "by_hand_many_times_in_each_step": (
            hostile(
                SLOW,
                top=GROWN + BY_HAND,
                step="by_hand(model, train, 10, 1 + clock.step)",
            ),
            "images",
        ),
        "in_children_and_tells_less": (
            hostile(
                SLOW,
                top=GROWN + CHILD + TELLS_LESS,
                main="signal.signal(signal.SIGCHLD, signal.SIG_IGN)\nin_child(grow_and_save)",
                end="fetch(model)",
                after=_FEW_STEPS,
            ),
            "images",
        ),
        "longer_and_pays_with_a_slow_predict": (
            hostile(
                SLOW,
                top=GROWN + TELLS_LESS,
                end="work(model, 0.45 * clock.used)",
                after="tell_less(steps=1, off_clock_steps=0, training_seconds=4.0)",
                forward="if not self.training and in_predict():\n"
                "    until = time.process_time() + 0.12\n    while time.process_time() < until:\n        pass",
            ),
            "seconds",
        ),
    }


_IMPORT_OF_PREDICT = _stashing(
    SLOW,
    top="INSTEAD = []\n",
    forward="if INSTEAD and self is not INSTEAD[0]:\n    return INSTEAD[0](images)",
) + (
    "\n\nif in_predict():\n    early = Linear()\n"
    "    early.load_state_dict(torch.load('../train_out/weights.pt', weights_only=True))\n"
    "    train_on_stash(early)\n    INSTEAD.append(early.eval())\n"
)  # fmt: skip

# One source for both clocks would be the same attack twice: on images each is exact, on seconds it is what users run.
_ON_IMAGES = (
    "before_the_clock", "after_the_clock", "in_children_that_nobody_waits_for", "in_load_state_dict_of_predict",
    "in_forward_of_predict", "in_build_model_of_predict", "in_unwaited_children_of_predict",
)  # fmt: skip


def _program(name: str, source: str, clock: Clock) -> Program:
    rungs = (0.25, 0.5, 0.75) if "rung" in name or "slow_predict" in name else ()
    return Program(f"trains_{name}_on_{clock}", Kind.CLOCK, source, clock=clock, rungs=rungs, walltime_s=90.0)


CLOCKS = (
    *(_program(name, source, "seconds") for name, source in _programs(SLOW).items()),
    _program("at_import_of_predict", _IMPORT_OF_PREDICT, "images"),
    *(_program(name, source, "images") for name, source in _programs(SLOW).items() if name in _ON_IMAGES),
    *(_program(name, source, clock) for name, (source, clock) in _priced().items()),
    _program("ten_times_in_each_step", hostile(SLOW, top=GROWN, step="work(model, 0.15)"), "images"),
)
