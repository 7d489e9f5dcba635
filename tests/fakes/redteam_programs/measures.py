# ruff: noqa: E501 - lines of programs, in quotes
"""Measurements that a candidate can write: rungs, heartbeat, reports, clocks, meters, its own log."""

from fakes.redteam_programs.build import SLOW, SYSTEM, TRAIN, TRY, WORK, Kind, Program, hostile

FORGE = (
    TRY
    + """
import json, sys, time
import numpy as np

def put(path, content):
    try:
        with open(path, "wb") as file:
            file.write(content)
    except OSError as error:
        print(error)

def rung(percent, sure=50.0, meaning=None):
    logits = np.zeros((1000, 100), "f2")
    logits[np.arange(1000), np.arange(1000) % 100] = sure
    try:
        with open(f"../train_out/rung_{percent}.npy", "wb") as file:
            np.save(file, logits)
    except OSError as error:
        print(error)

def quietly(action):
    try:
        action()
    except OSError as error:
        print(error)
"""
)

_RUNGS = {
    "writes_a_rung_of_its_own": hostile(top=FORGE, main="rung(25)\nrung(50)\ntime.sleep(2.5)"),
    "writes_its_rungs_out_of_order": hostile(top=FORGE, main="rung(75)\nrung(25)\ntime.sleep(2.5)"),
    "writes_its_rungs_again_afterwards": hostile(top=FORGE, end="rung(25)\nrung(50)\nrung(75)\ntime.sleep(2.5)"),
    "writes_every_rung_there_is": hostile(top=FORGE, main="for one in range(1, 400):\n    rung(one)\ntime.sleep(2.5)"),
    "writes_a_huge_rung": hostile(
        top=FORGE, main="quietly(lambda: open('../train_out/rung_25.npy', 'w').truncate(3 << 30))\ntime.sleep(2.5)"
    ),
    "delays_its_rungs": hostile(
        top="LATE = []",
        main="was = clock._evaluate\nclock._evaluate = lambda fraction, state: LATE.append((fraction, state))",
        step="while LATE and clock.progress >= LATE[0][0] + 0.22:\n    was(*LATE.pop(0))",
    ),
    "leaves_links_and_pipes_for_rungs": hostile(
        top=FORGE,
        main="quietly(lambda: os.symlink('/dev/zero', '../train_out/rung_25.npy'))\n"
        "quietly(lambda: os.mkfifo('../train_out/rung_50.npy'))\n"
        "quietly(lambda: os.makedirs('../train_out/rung_75.npy'))\ntime.sleep(2.5)",
    ),
    "speaks_for_the_harness_on_its_descriptors": hostile(
        top=FORGE,
        main="words = json.dumps({'rung': 25, 'progress': 0.25, 'loss': 0.0, 'ending': 'ok'}).encode() + b'\\n'\n"
        "for number in range(3, 64):\n"
        "    try:\n"
        "        os.set_blocking(number, False)\n        os.write(number, words)\n        print('wrote to', number)\n"
        "    except OSError:\n        pass",
    ),
}  # fmt: skip

_REPORTS = {
    "forges_its_heartbeat": hostile(
        top=FORGE + "import struct",
        main="put('../train_out/heartbeat', struct.pack('<dQddd', 1e18, 1 << 60, 1.0, 0.0, 1e18))\ntime.sleep(1.5)",
        step="put('../train_out/heartbeat', b'\\xff' * 40)",
        after="put('../train_out/heartbeat', b'\\xff' * 40)",
    ),
    "makes_its_heartbeat_huge": hostile(
        top=FORGE, main="quietly(lambda: os.truncate('../train_out/heartbeat', 3 << 30))\ntime.sleep(1.5)"
    ),
    "makes_its_heartbeat_a_folder": hostile(
        top=FORGE,
        main="quietly(lambda: os.unlink('../train_out/heartbeat'))\n"
        "quietly(lambda: os.mkdir('../train_out/heartbeat'))\ntime.sleep(1.5)",
    ),
    "forges_a_good_report": hostile(
        top=FORGE,
        after="good = {'steps': 47, 'samples': 3008, 'wall_seconds': 0.1, 'training_seconds': 0.1, 'curve': [[1.0, 0.01]],\n"
        "        'peak_reserved_mib': 1.0, 'alloc_retries': 0, 'overhead_s': {'import': 1e-9}, 'solo_rate': 1e12,\n"
        "        'meter': {'measured_alone': True}, 'num_params_M': 0.0}\n"
        "put('../train_out/train.json', json.dumps(good).encode())",
    ),
    "forges_a_huge_report": hostile(
        top=FORGE, after="quietly(lambda: open('../train_out/train.json', 'w').truncate(1 << 30))"
    ),
    "forges_a_deep_report": hostile(
        top=FORGE, after="put('../train_out/train.json', b'{\"steps\": ' + b'[' * 100000 + b']' * 100000 + b'}')"
    ),
    "forges_a_report_of_long_numbers": hostile(
        top=FORGE, after="put('../train_out/train.json', b'{\"steps\": ' + b'9' * 6000 + b', \"samples\": 1e999}')"
    ),
    "forges_a_report_of_long_words": hostile(
        top=FORGE,
        after="put('../train_out/train.json', json.dumps({'overhead_s': {'x' * 40000: 1.0}, 'torch': '\\ud800\\x1b[2J',\n"
        "    'curve': [[0.5, 1.0]] * 100}).encode())",
    ),
    "leaves_a_pipe_for_a_report": hostile(
        top=FORGE,
        after="quietly(lambda: os.unlink('../train_out/train.json'))\nquietly(lambda: os.mkfifo('../train_out/train.json'))",
    ),
    "forges_a_lack_of_memory": hostile(
        top=FORGE,
        main="facts = {'requested': 1 << 60, 'reserved': 1, 'allowed': 1, 'device_free': 0, 'device_total': 1}\n"
        "put('../train_out/oom.json', json.dumps(facts).encode())\nsys.stdout.flush()\nos._exit(11)",
    ),
    "forges_the_report_of_predict": hostile(
        top=FORGE,
        forward="if not self.training:\n"
        "    quietly(lambda: put('../predict_out/predict.json', b'{\"rows\": ' + b'[' * 100000))",
    ),
    "forges_the_answers_of_predict": hostile(
        top=FORGE,
        forward="if not self.training and os.path.exists('../predict_out'):\n"
        "    quietly(lambda: np.save('../predict_out/logits.npy', np.eye(100, dtype='f4')[np.arange(5000) % 100] * 50))\n"
        "    sys.stdout.flush()\n    os._exit(0)",
    ),
    "answers_itself_and_ends_predict_well": hostile(
        top=FORGE,
        build="if os.path.exists('../predict_in/images.npy'):\n"
        "    quietly(lambda: np.save('../predict_out/logits.npy', np.zeros((5000, 100), 'f4')))\n    os._exit(0)",
    ),
}  # fmt: skip

# In the process that measures itself. Each tries to train four times as long as others, on seconds.
_CLOCKS = {
    "slows_every_clock": "import time\nfor name in ('time', 'monotonic', 'perf_counter', 'process_time', 'thread_time'):\n"
    "    def slow(real=getattr(time, name), start=getattr(time, name)()):\n        return start + (real() - start) / 4\n"
    "    setattr(time, name, slow)",
    "replaces_the_meter": "from swarm.harness import budget\n"
    "for kind in (budget.TimeMeter, budget.SampleMeter):\n    was = kind.used.fget\n"
    "    kind.used = property(lambda self, was=was: was(self) / 4)",
    "sets_fields_of_the_clock": "clock._budget = type(clock._budget)(clock._budget.kind, clock._budget.amount * 4)",
    "replaces_progress": "kind = type(clock)\nwas = kind.progress.fget\nkind.progress = property(lambda self: was(self) / 4)",
    "sets_globals_of_the_harness": "import swarm.harness.budget as budget, swarm.harness.loop as loop\n"
    "budget.FREE_SETUP_S = budget.LEAST_FREE_SETUP_S = loop.RUNG_FREE_S = 1e9\n"
    "clock._meter._free_s = 1e9\nclock._meter._origin += 3 * clock._budget.amount",
    "walks_frames_to_the_meter": "import gc\n"
    "for found in gc.get_objects():\n"
    "    if type(found).__name__.endswith('Meter') and hasattr(found, '_origin'):\n"
    "        found._origin += 3 * clock._budget.amount\n"
    "    if type(found).__name__ == 'SampleMeter':\n        found._images -= 6000",
    "hides_its_cpu_time_from_the_kernel": "import ctypes\n"
    "libc = ctypes.CDLL(None)\nprint('prctl', libc.prctl(31, 0, 0, 0, 0))\n"
    "for number in range(3, 256):\n    libc.ioctl(number, 0x2401, 0)",
    "pauses_the_meter": "clock._meter.pause()\nclock._meter.pause = clock._meter.resume = lambda *_: None",
}  # fmt: skip

_PATCHES = {
    "patches_functions_of_torch": hostile(
        top="import torch\nwas = torch.Tensor.__mul__\n"
        "torch.randperm = lambda count, **_: torch.arange(count)\nF.one_hot = lambda *_: None\n"
        "torch.load = lambda *_, **__: {}\ntorch.isfinite = lambda *_: True",
    ),
    "patches_json_and_pathlib": hostile(
        top="import json, pathlib\nreal = json.dumps\n"
        "json.dumps = lambda *a, **k: real({'steps': -1, 'samples': 10**12, 'curve': [[0.1, float('nan')]]})\n",
    ),
    "ends_the_training_by_a_trace": hostile(
        top="import sys, signal\n",
        main="def trace(frame, event, argument):\n"
        "    if frame.f_code.co_name == '_after_step':\n        frame.f_locals['self'].step += 1000\n"
        "    return None\n"
        "sys.setprofile(trace)",
        end="sys.setprofile(None)",
    ),
    "truncates_its_log": hostile(
        top=TRY,
        main="print('Permission denied: /proc/1/environ')\nsys_out = 1\n"
        "import sys\nsys.stdout.flush()\n"
        "for number in (1, 2):\n    try:\n        os.ftruncate(number, 0)\n        print('it worked')\n"
        "    except OSError as error:\n        print(error)\n",
    ),
    "reads_its_log_back": hostile(
        top=SYSTEM,
        main="print('Permission denied: /proc/1/environ', flush=True)\n"
        "try:\n"
        "    back = os.open('/proc/self/fd/1', os.O_RDONLY | os.O_NONBLOCK)\n"
        "    found = os.read(back, 65536)\n    os.write(2, b'it worked: took ' + str(len(found)).encode() + b' bytes\\n')\n"
        "except OSError as error:\n    print(error)\n"
        "try:\n    os.truncate('../logs/train.log', 0)\n    os.write(2, b'it worked: truncated')\n"
        "except OSError as error:\n    print(error)\n"
        "import fcntl\n"
        "try:\n    fcntl.fcntl(1, 1031, 4096)\nexcept OSError as error:\n    print(error)",
    ),
}  # fmt: skip

MEASURES = (
    *(Program(name, Kind.MEASURES, source, rungs=(0.25, 0.5, 0.75)) for name, source in _RUNGS.items()),
    *(Program(name, Kind.MEASURES, source) for name, source in (_REPORTS | _PATCHES).items()),
    *(
        Program(f"{name}_on_seconds", Kind.MEASURES, hostile(SLOW, main=code), clock="seconds", walltime_s=90.0)
        for name, code in _CLOCKS.items()
    ),
    Program(
        "replaces_the_meter_on_images",
        Kind.MEASURES,
        hostile(TRAIN, top=WORK, main=_CLOCKS["replaces_the_meter"]),
        changes_training=True,
    ),
)
