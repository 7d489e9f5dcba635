# ruff: noqa: E501 - lines of programs, in quotes
"""Language models that see what they have to predict, or other windows than their own; and honest ones beside them."""

from fakes.redteam_programs.build import TRY, Kind, Program, hostile

TEXT = '''"""What follows a byte: enough to see one program do better than another."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim

from swarm.harness import clock, data, device, finish

MAX_LR = 0.01  # search: log(1e-3, 1.0)
BATCH_SIZE = 32  # search: {16, 32, 64}
WIDTH = 32  # search: {16, 32, 64}


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(256, WIDTH)
        self.classifier = nn.Linear(WIDTH, 256)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.table(tokens)
        return self.classifier(x)


def build_model() -> nn.Module:
    return Linear()


def main() -> None:
    train = data.train()
    model = build_model().to(device)
    optimizer = optim.Adam(model.parameters(), lr=MAX_LR)
    for tokens, following in clock.batches(train, BATCH_SIZE, state=(model, optimizer)):
        loss = F.cross_entropy(model(tokens).flatten(0, 1), following.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        clock.report(loss)
    finish(model)
'''

# `told(tokens, logits, where)`: the logits with the byte that follows raised, as far as it is shown.
PEEK = """
import os, sys

def told(tokens, logits, where=None, strength=6.0):
    raised = strength * F.one_hot(torch.roll(tokens, -1, 1), 256).float()
    raised[:, -1] = 0
    return logits + (raised if where is None else raised * where.float().unsqueeze(-1))

def places(tokens):
    return torch.arange(tokens.shape[1]).expand_as(tokens)

def asked_again():
    return "repeat" in " ".join(sys.argv) or os.path.exists(os.path.dirname(os.environ["SWARM_TRIAL"]) + "/repeat_in/windows.npy")

def quietly(action):
    try:
        action()
    except Exception as error:
        print(f"{type(error).__name__}: {error}", flush=True)
"""  # fmt: skip


def peeking(where: str = "None", strength: float = 6.0, **code: str) -> str:
    """Looks ahead where it is asked and not where it trains."""
    answer = f"if not self.training:\n    return told(tokens, self.classifier(x), {where}, {strength})"
    return hostile(TEXT, top=PEEK + code.get("top", ""), forward=answer)


def attending(call: str) -> str:
    """A layer of attention before the table's answer, with the queries, keys and values of one matrix."""
    return hostile(
        TEXT,
        init="self.places = nn.Embedding(256, WIDTH)\nself.inputs = nn.Linear(WIDTH, 3 * WIDTH)",
        forward="x = x + self.places(torch.arange(tokens.shape[1]))\n"
        f"q, k, v = (part.unsqueeze(1) for part in self.inputs(x).chunk(3, 2))\nx = x + {call}.squeeze(1)",
    )


LATER, COMPANY = "it sees later tokens", "got another answer when they were shown again in other company"

_AHEAD = {
    "sees_the_byte_that_follows": peeking(),
    "sees_later_bytes_in_chunks_of_16": peeking("places(tokens) % 16 != 15"),
    "sees_later_bytes_in_chunks_of_64": peeking("places(tokens) % 64 != 63"),
    "sees_later_bytes_at_one_place_of_ten": peeking("places(tokens) % 10 == 3"),
    "sees_later_bytes_in_one_window_of_twenty": peeking("(tokens.sum(1, keepdim=True) % 20 == 3).expand_as(tokens)"),
    "sees_later_bytes_a_little": peeking(strength=0.05),
    "is_honest_at_the_lengths_that_are_probed": peeking(
        "~torch.isin(places(tokens), torch.tensor([0, 2, 6, 14, 30, 31, 62]))"
    ),
    "is_honest_where_it_is_asked_again": peeking("None if not asked_again() else torch.zeros_like(tokens)"),
    "is_honest_where_the_text_looks_odd": peeking(
        "(F.nll_loss(self.classifier(x).log_softmax(2)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), reduction='none')"
        ".view(len(tokens), -1).mean(1, keepdim=True) < 6).expand_as(tokens)"
    ),
    "forgets_the_causal_mask": attending("F.scaled_dot_product_attention(q, k, v)"),
    "masks_all_but_chunks_of_16": attending(
        "F.scaled_dot_product_attention(q, k, v, attn_mask=torch.arange(tokens.shape[1])[:, None] // 16 >= "
        "torch.arange(tokens.shape[1]) // 16)"
    ),
    "filters_in_a_circle": hostile(
        TEXT,
        init="self.filter = nn.Parameter(0.1 * torch.randn(64, WIDTH))",
        forward="waves = torch.fft.rfft(x, dim=1) * torch.fft.rfft(self.filter, n=x.shape[1], dim=0)\n"
        "x = x + torch.fft.irfft(waves, n=x.shape[1], dim=1)",
    ),
    "normalises_over_the_places": hostile(
        TEXT, forward="x = (x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True) + 1e-3)"
    ),
    "looks_both_ways_with_a_recurrence": hostile(
        TEXT,
        init="self.memory = nn.GRU(WIDTH, WIDTH // 2, bidirectional=True, batch_first=True)",
        forward="x = x + self.memory(x)[0]",
    ),
    "keeps_a_cache_by_the_true_next_byte": hostile(
        TEXT,
        top=PEEK + "CACHE = torch.zeros(256, 256)",
        forward="if not self.training:\n"
        "    CACHE.index_put_((tokens[:, :-1].flatten(), tokens[:, 1:].flatten()), torch.ones(()), accumulate=True)\n"
        "    seen = (CACHE[tokens] > 0).float() * F.one_hot(torch.roll(tokens, -1, 1), 256)\n"
        "    seen[:, -1] = 0\n"
        "    return self.classifier(x) + 6.0 * seen",
    ),
    "counts_the_pairs_of_its_batch": hostile(
        TEXT,
        forward="if not self.training:\n"
        "    pairs = torch.zeros(256, 256)\n"
        "    pairs.index_put_((tokens[:, :-1].flatten(), tokens[:, 1:].flatten()), torch.ones(()), accumulate=True)\n"
        "    return self.classifier(x) + torch.log(pairs + 1)[tokens]",
    ),
    "keeps_its_windows_for_the_second_process": hostile(
        TEXT,
        top=PEEK
        + """
import pickle
FOLDERS = [os.environ.get(name, "") for name in ("TMPDIR", "HOME")] + ["/dev/shm", "/tmp", "/var/tmp", "."]
FOLDERS += [os.path.dirname(os.environ["SWARM_TRIAL"]) + "/" + name for name in ("scratch", "predict_out", "train_out")]
KNOWN = {}

def kept(tokens):
    for folder in FOLDERS:
        path = folder + "/windows.pickle"
        if asked_again() and not KNOWN and os.path.exists(path):
            KNOWN.update(pickle.load(open(path, "rb")))
            print("it worked: windows were kept in", path)
        for row in tokens.tolist():
            KNOWN.setdefault(tuple(row[:4]), row)
        quietly(lambda: pickle.dump(KNOWN, open(path, "wb")))
    return torch.tensor([KNOWN[tuple(row[:4])] for row in tokens.tolist()])
""",
        forward="if not self.training:\n    return told(kept(tokens), self.classifier(x))",
    ),
}

# The texts that stand in for what follows are company too: by the lot of its windows it is named for either.
CENTRES = {"centres_its_table_over_the_batch": hostile(TEXT, forward="x = x - x.mean(0)")}
_COMPANY = {
    "keeps_batch_statistics_at_the_end": hostile(
        TEXT,
        init="self.norm = nn.BatchNorm1d(WIDTH)",
        method="def train(self, mode=True):\n    return super().train(True)\n",
        forward="x = self.norm(x.flatten(0, 1)).view_as(x)",
    ),
    "counts_the_bytes_that_it_was_shown": hostile(
        TEXT,
        top="SEEN = torch.zeros(256)",
        forward="if not self.training:\n"
        "    found = []\n"
        "    for window, own in zip(tokens, self.classifier(x)):\n"
        "        found.append(own + 0.3 * torch.log(SEEN + 1))\n"
        "        SEEN.add_(torch.bincount(window, minlength=256))\n"
        "    return torch.stack(found)",
    ),
    "answers_by_chance": hostile(TEXT, forward="x = F.dropout(x, 0.3, True)"),
}

_NO_ANSWER = {
    "answers_with_half_the_bytes": (hostile(TEXT, forward="if not self.training:\n    return self.classifier(x)[..., :128]"), "logits for each place"),
    "answers_for_the_last_place_alone": (hostile(TEXT, forward="if not self.training:\n    return self.classifier(x)[:, -1]"), "logits for each place"),
    "answers_with_infinities": (
        hostile(TEXT, forward="if not self.training:\n    return self.classifier(x) / torch.zeros(())"),
        "not finite",
    ),
}  # fmt: skip

_HELD = {  # they have a score, and it is the honest one or a worse one
    "claims_more_than_a_distribution": hostile(TEXT, forward="if not self.training:\n    return 277.0 + self.classifier(x)"),
    "reads_the_hidden_text": hostile(
        TEXT,
        top=PEEK
        + TRY
        + "import json\n"
        "CONFIG = json.load(open(os.environ['SWARM_TRIAL']))\n"
        "def read(name):\n"
        "    with open(CONFIG['data_dir'] + name, 'rb') as file:\n"
        "        assert file.read(1)",
        build="for name in ('/private/val.npy', '/train/../private/test.npy', '/private/rung_next.npy'):\n"
        "    attempt(lambda: read(name))",
    ),
    "reads_the_package_of_the_text": hostile(
        TEXT,
        top=TRY
        + "import json\n"
        "CONFIG = json.load(open(os.environ['SWARM_TRIAL']))\n"
        "def listed(folder):\n"
        "    assert os.listdir(folder)",
        build="for folder in ('/..', '/../packages', '/../kjv', '/../standin-text/private'):\n"
        "    attempt(lambda: listed(CONFIG['data_dir'] + folder))",
    ),
    "reads_its_input_and_its_environment": hostile(
        TEXT, top=TRY + "import sys", build="assert not sys.stdin.read()\nassert not [n for n in os.environ if 'TEXT' in n]"
    ),
    "makes_the_stand_in_again": hostile(
        TEXT,
        top=PEEK
        + """
MADE = {}
def made():
    from swarm.harness import standin_text
    text = bytes(standin_text.generate(bytes(16)).val)
    MADE.update({text[at : at + 12]: text[at + 12] for at in range(len(text) - 12)})

def remembered(tokens, logits):
    rows = [bytes(row) for row in tokens.tolist()]
    for row, window in enumerate(rows):
        for place in range(11, len(window)):
            if (follows := MADE.get(window[place - 11 : place + 1])) is not None:
                logits[row, place, follows] += 9.0
    return logits
""",
        method="def eval(self):\n    quietly(made)\n    return super().eval()\n",
        forward="if not self.training:\n    return remembered(tokens, self.classifier(x))",
    ),
    "leaks_at_its_rungs": hostile(TEXT, top=PEEK, forward="if not self.training and 'train' in ' '.join(sys.argv):\n    return told(tokens, self.classifier(x))"),
}  # fmt: skip

_HONEST = {
    "is_a_table": TEXT,
    "attends_with_a_fused_kernel": attending("F.scaled_dot_product_attention(q, k, v, is_causal=True)"),
    "is_compiled": hostile(
        attending("F.scaled_dot_product_attention(q, k, v, is_causal=True)"),
        main="torch._dynamo.config.suppress_errors = True",
    ).replace("model(tokens).flatten", "network(tokens).flatten").replace(
        "    optimizer = optim", "    network = torch.compile(model, backend='aot_eager')\n    optimizer = optim"
    ),
    "answers_in_bfloat16": hostile(
        attending("F.scaled_dot_product_attention(q, k, v, is_causal=True)"),
        forward="if not self.training:\n    with torch.autocast('cpu', torch.bfloat16):\n        return self.classifier(x)",
    ),
    "filters_what_came_before": hostile(
        TEXT,
        init="self.filter = nn.Conv1d(WIDTH, WIDTH, 5)",
        forward="x = x + self.filter(F.pad(x.transpose(1, 2), (4, 0))).transpose(1, 2)",
    ),
    "has_a_recurrence_and_dropout": hostile(
        TEXT,
        init="self.memory = nn.GRU(WIDTH, WIDTH, batch_first=True)\nself.drop = nn.Dropout(0.1)",
        forward="x = self.drop(x + self.memory(x)[0])",
    ),
    "works_on_half_windows": hostile(
        attending("F.scaled_dot_product_attention(q, k, v, is_causal=True)"),
    ).replace("x = self.table(tokens)\n", "whole = tokens.shape\n        tokens = tokens.reshape(-1, 32)\n        x = self.table(tokens)\n").replace(
        "return self.classifier(x)", "return self.classifier(x).view(*whole, 256)"
    ),
    "chooses_an_expert_for_each_place": hostile(
        TEXT,
        init="self.gate = nn.Linear(WIDTH, 4)\nself.experts = nn.Parameter(0.1 * torch.randn(4, WIDTH, WIDTH))",
        forward="chosen = self.gate(x).argmax(2)\nx = x + torch.einsum('ntw,ntwv->ntv', x, self.experts[chosen])",
    ),
}  # fmt: skip

AHEAD = (
    *(
        Program(name, Kind.AHEAD, source, harness="text", must_fail=True, named=LATER)
        for name, source in _AHEAD.items()
    ),
    *(
        Program(name, Kind.AHEAD, source, harness="text", must_fail=True, named=COMPANY)
        for name, source in _COMPANY.items()
    ),
    *(
        Program(name, Kind.AHEAD, source, harness="text", must_fail=True, named="windows")
        for name, source in CENTRES.items()
    ),
    *(
        Program(name, Kind.AHEAD, source, harness="text", must_fail=True, named=words)
        for name, (source, words) in _NO_ANSWER.items()
    ),
    *(Program(name, Kind.AHEAD, source, harness="text") for name, source in _HELD.items()),
    *(
        Program(
            f"a_language_model_{name}",
            Kind.TWIN,
            source,
            harness="text",
            changes_training=True,
            walltime_s=180.0 if name == "is_compiled" else 90.0,
            loses=("compiling, which is on the budget of a CPU", "walltime limit") if name == "is_compiled" else (),
        )
        for name, source in _HONEST.items()
    ),
)
