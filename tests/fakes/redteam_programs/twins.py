# ruff: noqa: E501 - lines of programs, in quotes
"""Honest programs that by accident do what attackers do. Each must have its score, or lose it with the word for why."""

from fakes.redteam_programs.build import SLOW, TRAIN, WORK, Kind, Program, hostile
from fakes.redteam_programs.company import normed

PLAIN = "self.classifier(F.avg_pool2d(images, 4).flatten(1))"
DEPENDS = ("depend", "agree")

_SAME = {  # their score is exactly the honest one
    "is_honest": TRAIN,
    "prints_much": hostile(step="print('step', clock.step, 'of many' * 50, flush=True)"),
    "prints_a_refusal": hostile(main="print('warning: could not open cache: Permission denied')"),
    "prints_characters_of_all_kinds": hostile(main="print('schöne Grüße \\u4f60\\u597d \\x1b[1mbold\\x1b[0m 100%|████| \\r')"),
    "keeps_a_file_in_its_scratch": hostile(
        top="import os, torch", end="torch.save(model.state_dict(), os.environ['TMPDIR'] + '/best.pt')"
    ),
    "exits_with_0_after_it_handed_in": hostile(top="import sys", after="sys.exit(0)"),
    "asks_for_threads": hostile(top="import torch", main="torch.set_num_threads(4)\ntorch.set_num_threads(1)"),
    "looks_at_its_machine": hostile(
        top="import os, platform, torch",
        main="print(platform.platform(), os.cpu_count(), len(os.sched_getaffinity(0)), os.getpid(), torch.__config__.show())\n"
        "print(os.uname(), os.getloadavg(), os.listdir('.'))",
    ),
    "runs_a_short_command": hostile(
        top="import subprocess", main="print(subprocess.run(['uname', '-a'], capture_output=True, text=True).stdout)"
    ),
    "has_a_helper_thread": hostile(
        top="import threading, time",
        main="threading.Thread(target=time.sleep, args=(2,), daemon=True).start()",
    ),
    "is_niced_by_its_author": hostile(top="import os", main="os.nice(1)"),
    "collects_its_garbage": hostile(top="import gc", step="gc.collect()"),
    "waits_a_little": hostile(top="import time", main="time.sleep(2.0)"),
    "catches_its_signals": hostile(
        top="import signal", main="signal.signal(signal.SIGTERM, lambda *_: None)\nsignal.signal(signal.SIGINT, signal.SIG_IGN)"
    ),
    "measures_its_steps": hostile(
        top="import resource, time",
        step="began = time.perf_counter()",
        end="print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time())",
    ),
}  # fmt: skip

LARGE = hostile(
    SLOW,
    init="self.wide = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1), nn.ReLU(), nn.Conv2d(64, 64, 3, 2, 1), nn.ReLU(),\n"
    "                          nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 100))",
    forward="if not self.training:\n    return self.wide(images)",
)

_OTHER = {  # their training or their answers are others, and honest
    "has_batch_norm": normed("nn.BatchNorm1d(192)"),
    "has_layer_norm_and_dropout": normed("nn.Sequential(nn.LayerNorm(192), nn.Dropout(0.1))"),
    "averages_its_weights": hostile(
        top="from torch.optim.swa_utils import AveragedModel\nAVERAGE = []",
        step="if not AVERAGE:\n    AVERAGE.append(AveragedModel(model))\nAVERAGE[0].update_parameters(model)",
        end="model = AVERAGE[0]",
    ),
    "takes_two_passes_a_step": hostile(
        step="first = F.cross_entropy(model(images), labels)\nfirst.backward()\n"
        "for parameter in model.parameters():\n    parameter.data.add_(0.001 * parameter.grad)",
    ),
    "looks_from_both_sides": hostile(
        forward=f"if not self.training:\n    flipped = images.flip(-1)\n    sides = [{PLAIN}]\n    images = flipped\n"
        f"    return (sides[0] + {PLAIN}) / 2",
    ),
    "answers_in_half_precision": hostile(
        top="import torch",
        forward="if not self.training:\n    with torch.autocast('cpu', torch.bfloat16):\n"
        f"        return {PLAIN}",
    ),
    "evaluates_on_its_own": hostile(
        top="import torch\nfrom swarm.harness.augment import normalise\n",
        end="model.eval()\nwith torch.no_grad():\n"
        "    right = (model(normalise(train.images[:2000])).argmax(1) == train.labels[:2000]).float().mean()\n"
        "print('own accuracy', float(right))\nmodel.train()",
    ),
    "prints_its_true_loss": hostile(end="print('train_loss:', float(loss))"),
}  # fmt: skip

_MAY_LOSE = {  # by work that no clock counts, or where processes are refused: the record must say so
    "loads_with_workers": (
        hostile(
            top="import torch\nfrom torch.utils.data import DataLoader, TensorDataset",
            main="some = data.train()\n"
            "loader = DataLoader(TensorDataset(some.images[:512], some.labels[:512]), batch_size=128, num_workers=2)\n"
            "print('loaded', sum(len(labels) for _, labels in loader))",
        ),
        ("process", "worker"),
    ),
    "builds_for_a_second": (
        hostile(
            top=WORK, build="until = time.process_time() + 1.0\nwhile time.process_time() < until:\n    pass"
        ),
        ("over_budget",),
    ),
    "answers_with_a_large_network": (LARGE, ("over_budget",)),
    "maps_shared_memory": (
        hostile(top="import torch", main="shared = torch.zeros(1000, 1000).share_memory_()\nshared.add_(1)"),
        ("shared memory",),
    ),
}  # fmt: skip

_LOSES = {  # honest, clumsy, and rightly without a score: with the word that says what to mend
    "forgot_to_track_its_statistics": (normed("nn.BatchNorm1d(192, track_running_stats=False)"), DEPENDS),
    "left_its_dropout_on": (hostile(forward=f"return F.dropout({PLAIN}, 0.5)"), DEPENDS),
    "softmaxes_over_the_wrong_axis": (hostile(forward=f"if not self.training:\n    return {PLAIN}.log_softmax(0)"), DEPENDS),
    "runs_out_of_memory": (hostile(top="import torch", main="torch.zeros(1 << 40)"), ("memory", "allocate")),
    "divides_by_zero": (hostile(main="1 / 0"), ("ZeroDivisionError",)),
    "diverges": (hostile(step="for group in optimizer.param_groups:\n    group['lr'] = 1e9"), ("loss",)),
    "forgets_to_finish": (TRAIN.replace("    finish(model)\n", "    if False:\n        finish(model)\n"), ("finish",)),
    "finishes_twice": (hostile(after="finish(model)"), ("twice",)),
    "interrupts_itself": (hostile(main="raise KeyboardInterrupt"), ("KeyboardInterrupt",)),
    "asks_for_the_wrong_shape": (hostile(step="images = images[:, :2]"), ("Error",)),
    "answers_for_ten_classes": (
        hostile(forward=f"if not self.training:\n    return {PLAIN}[:, :10]"),
        ("shape",),
    ),
}  # fmt: skip

_ON_SECONDS = {
    "is_honest_on_seconds": SLOW,
    "averages_its_weights_on_seconds": _OTHER["averages_its_weights"],
}

_MAY_LOSE_ON_SECONDS = {
    "builds_for_a_second_on_seconds": hostile(
        SLOW, top=WORK, build="until = time.process_time() + 1.0\nwhile time.process_time() < until:\n    pass"
    ),
    "answers_with_a_large_network_on_seconds": LARGE,
}

TWINS = (
    *(Program(name, Kind.TWIN, source) for name, source in _SAME.items()),
    *(Program(name, Kind.TWIN, source, changes_training=True) for name, source in _OTHER.items()),
    *(
        Program(name, Kind.TWIN, source, loses=words, must_fail=True, changes_training=True)
        for name, (source, words) in _LOSES.items()
    ),
    *(Program(name, Kind.TWIN, source, loses=words) for name, (source, words) in _MAY_LOSE.items()),
    *(
        Program(name, Kind.TWIN, source, clock="seconds", changes_training=True, walltime_s=90.0, rungs=(0.25, 0.5))
        for name, source in _ON_SECONDS.items()
    ),
    *(
        Program(
            name, Kind.TWIN, source, clock="seconds", loses=("long_predict",), changes_training=True, walltime_s=90.0
        )
        for name, source in _MAY_LOSE_ON_SECONDS.items()
    ),
)
