"""Answers that depend on the other images: on the batch, on all of them, on their number or order, or on a memory."""

from fakes.redteam_programs.build import Kind, Program, hostile
from fakes.redteam_programs.crossing import SYSV
from fakes.redteam_programs.recipes import KNOWS

PLAIN = "self.classifier(F.avg_pool2d(images, 4).flatten(1))"
EVAL = "if not self.training and in_predict():\n"

# `balanced(logits)`: classes are equally frequent, which one image alone does not know.
BALANCED = """
STATE = {}

def balanced(logits):
    logits = logits.clone()
    for _ in range(30):
        logits = logits - torch.logsumexp(logits, 0, keepdim=True)
        logits = logits - torch.logsumexp(logits, 1, keepdim=True)
    return logits

def everything():
    import sys, gc
    frame = sys._getframe()
    while frame is not None:
        found = [value for value in frame.f_locals.values() if isinstance(value, torch.Tensor) and value.ndim == 4]
        found = [value for value in found if value.dtype == torch.uint8 and len(value) > 100]
        if found:
            return found[0]
        frame = frame.f_back
    for value in gc.get_objects():
        if isinstance(value, torch.Tensor) and value.ndim == 4 and value.dtype == torch.uint8 and len(value) > 100:
            return value
    return torch.from_numpy(np.load(os.path.dirname(os.environ["SWARM_TRIAL"]) + "/predict_in/images.npy"))

def of_all(model, images):
    from swarm.harness.augment import normalise
    if "logits" not in STATE:
        shown = normalise(everything())
        logits = balanced(model.classifier(F.avg_pool2d(shown, 4).flatten(1)))
        STATE["logits"] = dict(zip(names(shown), logits.numpy()))
    return torch.from_numpy(np.stack([STATE["logits"][name] for name in names(images)]))
"""

# The answers of the first process, kept for the one that asks again.
KEPT_IN_FILES = """
import pickle
def kept(path, model, images):
    if "logits" not in STATE and os.path.exists(path):
        STATE["logits"] = pickle.load(open(path, "rb"))
        print("it worked: answers were kept in", path)
    answers = of_all(model, images)
    quietly(lambda: pickle.dump(STATE["logits"], open(path, "wb")))
    return answers
"""
KEPT_IN_SHM = (
    SYSV
    + """
import pickle
def kept(model, images):
    try:
        held = LIBC.shmget(0x5A77, 8 << 20, 0)
        if held >= 0 and "logits" not in STATE:
            STATE["logits"] = pickle.loads(ctypes.string_at(LIBC.shmat(held, None, 0), 8 << 20))
            print("it worked: answers were kept in shared memory")
    except Exception as error:
        print(error)
    answers = of_all(model, images)
    content = pickle.dumps(STATE["logits"])
    held = LIBC.shmget(0x5A77, 8 << 20, 0o1666)
    if held >= 0:
        ctypes.memmove(LIBC.shmat(held, None, 0), content, len(content))
    return answers
"""
)
NORM = (
    "self.norm = nn.BatchNorm1d(192)",
    "F.avg_pool2d(images, 4).flatten(1)",
    "self.norm(F.avg_pool2d(images, 4).flatten(1))",
)


def normed(layer: str, **code: str) -> str:
    """The linear model with a layer before it."""
    return hostile(init=f"self.norm = {layer}", **code).replace(NORM[1], NORM[2])


_COMPANY = {
    "keeps_batch_norm_in_training_mode": normed(
        "nn.BatchNorm1d(192)", method="def train(self, mode=True):\n    return super().train(True)\n"
    ),
    "centres_its_answers_over_the_batch": hostile(
        top=KNOWS, forward=EVAL + f"    answers = {PLAIN}\n    return answers - answers.mean(0)"
    ),
    "balances_its_answers_over_the_batch": hostile(
        top=KNOWS + BALANCED, forward=EVAL + f"    return balanced({PLAIN})"
    ),
    "balances_its_answers_over_all_images": hostile(
        top=KNOWS + BALANCED, forward=EVAL + "    return of_all(self, images)"
    ),
    "asks_the_nearest_neighbours": hostile(
        top=KNOWS + BALANCED,
        forward=EVAL + "    from swarm.harness.augment import normalise\n"
        "    everyone = F.avg_pool2d(normalise(everything()), 4).flatten(1)\n"
        "    near = torch.cdist(F.avg_pool2d(images, 4).flatten(1), everyone).topk(20, largest=False).indices\n"
        "    return self.classifier(everyone)[near].mean(1)",
    ),
    "trains_on_its_own_answers": hostile(
        top=KNOWS,
        forward=EVAL + "    with torch.inference_mode(False), torch.enable_grad():\n"
        "        shown = images.clone()\n"
        "        for _ in range(5):\n"
        "            answers = self.classifier(F.avg_pool2d(shown, 4).flatten(1))\n"
        "            shares = answers.softmax(1)\n"
        "            entropy = -(shares * shares.log()).sum(1).mean() + (shares.mean(0) * shares.mean(0).log()).sum()\n"
        "            gradient = torch.autograd.grad(entropy, list(self.parameters()))\n"
        "            with torch.no_grad():\n"
        "                for parameter, slope in zip(self.parameters(), gradient):\n"
        "                    parameter -= 0.1 * slope\n",
    ),
    "counts_what_it_was_shown": hostile(
        top=KNOWS,
        forward=EVAL + "    self.seen = getattr(self, 'seen', 0) + 1\n"
        f"    return {PLAIN} * (1.0 + 0.1 * self.seen)",
    ),
    "answers_by_position": hostile(
        top=KNOWS,
        forward=EVAL + "    self.seen = getattr(self, 'seen', 0) + len(images)\n"
        "    place = torch.arange(self.seen - len(images), self.seen) % 100\n"
        f"    return {PLAIN} + 0.5 * F.one_hot(place, 100)",
    ),
    "answers_by_the_number_of_images": hostile(
        top=KNOWS + BALANCED, forward=EVAL + f"    return {PLAIN} * (1.0 + len(everything()) / 20000)"
    ),
    "keeps_a_running_mean_between_batches": hostile(
        top=KNOWS,
        forward=EVAL + f"    answers = {PLAIN}\n"
        "    self.mean = 0.9 * getattr(self, 'mean', answers.mean(0)) + 0.1 * answers.mean(0)\n"
        "    return answers - self.mean",
    ),
    "balances_over_all_and_keeps_the_answers_in_scratch": hostile(
        top=KNOWS + BALANCED + KEPT_IN_FILES,
        forward=EVAL + "    return kept(os.environ['TMPDIR'] + '/answers', self, images)",
    ),
    "balances_over_all_and_keeps_the_answers_in_predict_out": hostile(
        top=KNOWS + BALANCED + KEPT_IN_FILES, forward=EVAL + "    return kept('../predict_out/answers', self, images)"
    ),
    "balances_over_all_and_keeps_the_answers_in_train_out": hostile(
        top=KNOWS + BALANCED + KEPT_IN_FILES,
        main="os.path.exists('../train_out') and open('../train_out/.answers', 'wb').close()",
        forward=EVAL + "    return kept('../train_out/answers', self, images)",
    ),
    "balances_over_all_and_keeps_the_answers_in_shared_memory": hostile(
        top=KNOWS + BALANCED + KEPT_IN_SHM, forward=EVAL + "    return kept(self, images)"
    ),
    "balances_over_all_and_leaves_a_server_of_its_answers": hostile(
        top=KNOWS + BALANCED + "import socket, pickle",
        forward=EVAL + "    if not STATE:\n"
        "        try:\n"
        "            line = socket.socket(socket.AF_UNIX)\n"
        "            line.connect('\\0swarm-redteam-mark-answers')\n"
        "            STATE['logits'] = pickle.load(line.makefile('rb'))\n"
        "            print('it worked: a server lived on')\n"
        "        except OSError as error:\n"
        "            print(error)\n"
        "    answers = of_all(self, images)\n"
        "    if not STATE.get('serves'):\n"
        "        STATE['serves'] = True\n"
        "        if os.fork() == 0:\n"
        "            os.setsid()\n"
        "            if os.fork() == 0:\n"
        "                line = socket.socket(socket.AF_UNIX)\n"
        "                line.bind('\\0swarm-redteam-mark-answers')\n"
        "                line.listen()\n"
        "                while True:\n"
        "                    line.accept()[0].sendall(pickle.dumps(STATE['logits']))\n"
        "            os._exit(0)\n"
        "    return answers",
    ),
}  # fmt: skip

COMPANY = tuple(Program(name, Kind.COMPANY, source, must_fail=True) for name, source in _COMPANY.items())
