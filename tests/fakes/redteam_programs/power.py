# ruff: noqa: E501 - lines of programs, in quotes
"""Power over foreign processes, and more of the machine for oneself. Numbers of x86_64.

`VICTIM` is the pid of a process of the same user outside. The test looks at it afterwards; the programs say what
answered. What would reach every process of the user asks for what they have already: it shows the way and does no harm.
"""

from fakes.redteam_programs.build import SYSTEM, WORK, Kind, Program, hostile

_EVERYBODY = """
import resource, signal, struct
ME = os.getpid()
OTHERS = [VICTIM, *([os.getppid()] if os.getppid() > 1 else [])]  # 1 is the first of our own namespace
ANY = OTHERS + [1]

def quietly(action):
    try:
        action()
    except OSError as error:
        print(error)
"""

_FOREIGN = {
    "signals": "for pid in OTHERS:\n    attempt(lambda: os.kill(pid, signal.SIGURG))\n"
    "    attempt(lambda: os.killpg(pid, signal.SIGURG))\n"
    "    attempt(lambda: system(234, pid, pid, signal.SIGURG))\n    attempt(lambda: system(200, pid, signal.SIGURG))",
    "stops": "for pid in OTHERS:\n    attempt(lambda: os.kill(pid, signal.SIGSTOP))",
    "kills": "attempt(lambda: os.kill(VICTIM, signal.SIGKILL))\nquietly(lambda: os.kill(-1, signal.SIGURG))",
    "kills_by_descriptor": "for pid in OTHERS:\n"
    "    attempt(lambda: signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGURG))",
    "signals_by_owner_of_a_pipe": "import fcntl\n"
    "def own(pid):\n    reading, writing = os.pipe()\n"
    "    fcntl.fcntl(reading, 10, signal.SIGTERM)\n    fcntl.fcntl(reading, fcntl.F_SETOWN, pid)\n"
    "    fcntl.fcntl(reading, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)\n    os.write(writing, b'x')\n"
    "try:\n    own(VICTIM)\nexcept OSError as error:\n    print(error)",
    "renices": "for pid in OTHERS:\n    attempt(lambda: os.setpriority(os.PRIO_PROCESS, pid, 19))\n"
    "    attempt(lambda: os.setpriority(os.PRIO_PGRP, pid, 19))\n"
    "for who in (os.getuid(), 0):\n"
    "    attempt(lambda: os.setpriority(os.PRIO_USER, who, os.getpriority(os.PRIO_PROCESS, 0)))",
    "schedules": "for pid in OTHERS:\n"
    "    attempt(lambda: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)))\n"
    "    attempt(lambda: os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0)))\n"
    "    attempt(lambda: system(314, pid, struct.pack('=IIQiIQQQ', 48, 0, 0, 15, 0, 0, 0, 0), 0))",
    "pins": "for pid in OTHERS:\n    attempt(lambda: os.sched_setaffinity(pid, {0}))",
    "slows_the_disk_of": "for pid in OTHERS:\n    attempt(lambda: system(251, 1, pid, 3 << 13))\n"
    "    attempt(lambda: system(251, 2, pid, 3 << 13))\n"
    "try:\n    system(251, 3, os.getuid(), 0)\n    print('it worked: every process of the user')\n"
    "except OSError as error:\n    print(error)",
    "limits": "for pid in OTHERS:\n"
    "    attempt(lambda: resource.prlimit(pid, resource.RLIMIT_CPU, (1000, 1000)))\n"
    "    attempt(lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE))",
    "traces": "for pid in OTHERS:\n    for request in (16, 0x4206):\n"
    "        attempt(lambda: system(101, request, pid, 0, 0))\n"
    "    attempt(lambda: open(f'/proc/{pid}/mem', 'rb').read(1))\n"
    "    attempt(lambda: open(f'/proc/{pid}/maps').read(1))\n"
    "    attempt(lambda: open(f'/proc/{pid}/environ').read(1))\n"
    "    attempt(lambda: os.listdir(f'/proc/{pid}/fd'))",
    "writes_the_memory_of": "buffer = ctypes.create_string_buffer(64)\n"
    "ours = struct.pack('QQ', ctypes.addressof(buffer), 1)\ntheirs = struct.pack('QQ', 0x400000, 1)\n"
    "for pid in OTHERS:\n    for number in (310, 311):\n"
    "        attempt(lambda: system(number, pid, ours, 1, theirs, 1, 0))",
    "pages_out": "for pid in OTHERS:\n"
    "    attempt(lambda: system(440, os.pidfd_open(pid), struct.pack('QQ', 0x400000, 4096), 1, 21, 0))\n"
    "    attempt(lambda: system(448, os.pidfd_open(pid), 0))\n"
    "    attempt(lambda: system(256, pid, 64, b'\\1' * 8, b'\\1' * 8))\n"
    "    attempt(lambda: system(279, pid, 0, None, None, None, 2))",
    "takes_descriptors_of": "for pid in OTHERS:\n    attempt(lambda: system(438, os.pidfd_open(pid), 1, 0))\n"
    "    attempt(lambda: system(312, ME, pid, 0, 0, 0))\n    attempt(lambda: system(274, pid, b' ' * 8, b' ' * 8))",
    "offers_to_the_killer": "for pid in OTHERS:\n"
    "    attempt(lambda: open(f'/proc/{pid}/oom_score_adj', 'w').write('1000'))\n"
    "attempt(lambda: open('/proc/self/oom_score_adj', 'w').write('-900'))\n"
    "attempt(lambda: open('/proc/self/oom_score_adj', 'w').write('0'))",
    "regroups": "for pid in ANY:\n    attempt(lambda: os.setpgid(pid, 0))\n    attempt(lambda: os.setpgid(0, pid))\n"
    "import glob\n"
    "for path in glob.glob('/sys/fs/cgroup/**/cgroup.procs', recursive=True)[:20] + ['/sys/fs/cgroup/cgroup.procs']:\n"
    "    attempt(lambda: open(path, 'w').write(str(ME)))",
    "enters_the_namespaces_of": "for pid in ANY:\n    attempt(lambda: system(308, os.pidfd_open(pid), 0x20000000))\n"
    "    for name in ('mnt', 'pid', 'net', 'ipc'):\n"
    "        attempt(lambda: system(308, os.open(f'/proc/{pid}/ns/{name}', os.O_RDONLY), 0))\n"
    "for flags in (0x20000, 0x10000000, 0x20000000, 0x40000000, 0x08000000):\n    attempt(lambda: system(272, flags))",
    "becomes_somebody_else": "for action in (lambda: os.setuid(12345), lambda: os.setgid(12345), lambda: os.setgroups([12345]),\n"
    "               lambda: os.setresuid(0, 0, 0) if os.getuid() else 1 / 0, lambda: os.chroot('/tmp')):\n"
    "    try:\n        attempt(action)\n    except ZeroDivisionError:\n        pass",
    "changes_the_kernel": "for path in ('core_pattern', 'sched_rt_runtime_us', 'panic', 'sysrq', 'hostname'):\n"
    "    attempt(lambda: open('/proc/sys/kernel/' + path, 'w').write('1'))\n"
    "attempt(lambda: open('/proc/sysrq-trigger', 'w').write('h'))\nattempt(lambda: open('/dev/kmsg', 'w').write('x'))\n"
    "attempt(lambda: open('/proc/sys/vm/drop_caches', 'w').write('3'))\n"
    "attempt(lambda: system(321, 0, b' ' * 64, 64))\nattempt(lambda: system(164, struct.pack('QQ', 1, 0), None))\n"
    "attempt(lambda: system(227, 0, struct.pack('QQ', 1, 0)))\nattempt(lambda: system(169, 0))",
}  # fmt: skip

# More of the machine than one's share. `it worked` would be a class that others do not have.
_OWN = {
    "raises_itself": "for action in (lambda: os.setpriority(os.PRIO_PROCESS, 0, -10), lambda: os.nice(-10)):\n"
    "    attempt(action)\n"
    "for policy in (os.SCHED_FIFO, os.SCHED_RR):\n"
    "    attempt(lambda: os.sched_setscheduler(0, policy, os.sched_param(10)))\n"
    "attempt(lambda: system(142, 0, struct.pack('i', 5)) and 1)\n"
    "attempt(lambda: system(314, 0, struct.pack('=IIQiIQQQ', 48, 6, 0, 0, 0, 900000, 1000000, 1000000), 0))\n"
    "attempt(lambda: system(314, 0, struct.pack('=IIQiIQQQ', 48, 1, 0, 0, 10, 0, 0, 0), 0))",
    "raises_its_disk": "attempt(lambda: system(251, 1, 0, (1 << 13) | 0))",
    "raises_its_limits": "for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC, resource.RLIMIT_MEMLOCK, resource.RLIMIT_CORE,\n"
    "              resource.RLIMIT_FSIZE, resource.RLIMIT_DATA, resource.RLIMIT_RTPRIO, resource.RLIMIT_NICE):\n"
    "    now = resource.getrlimit(limit)\n"
    "    if now[1] != resource.RLIM_INFINITY:\n"
    "        try:\n            resource.setrlimit(limit, (now[1] + 1, now[1] + 1))\n            print('it worked', limit)\n"
    "        except (OSError, ValueError) as error:\n            print(error)",
}  # fmt: skip


def _program(name: str, code: str) -> Program:
    return Program(name, Kind.POWER, hostile(top=SYSTEM + _EVERYBODY, main=code))


POWER = (
    *(_program(f"{name}_others", code) for name, code in _FOREIGN.items()),
    *(_program(name, code) for name, code in _OWN.items()),
)

# Beside an honest trial: what may slow it. Each goes on for some seconds; {seconds} is filled in.
_WHILE = "import threading\nuntil = time.monotonic() + SECONDS\nwhile time.monotonic() < until:\n    "
_SLOWING = {
    "spins_in_many_threads": "from concurrent.futures import ThreadPoolExecutor\n"
    "torch.set_num_threads(8)\nfield = torch.randn(1500, 1500)\n" + _WHILE + "field @ field",
    "spins_on_every_core": "try:\n    os.sched_setaffinity(0, range(os.cpu_count()))\nexcept OSError as error:\n    print(error)\n"
    "for _ in range(8):\n    try:\n        if os.fork() == 0:\n            while True:\n                pass\n"
    "    except OSError as error:\n        print(error)\n" + _WHILE + "pass",
    "forks_without_end": _WHILE + "try:\n        if os.fork() == 0:\n            os._exit(0)\n"
    "    except OSError:\n        time.sleep(0.01)",
    "thrashes_memory": "field = torch.zeros(80_000_000)\n" + _WHILE + "field.add_(1.0)",
    "maps_and_unmaps": "import mmap\n" + _WHILE + "with mmap.mmap(-1, 64 << 20) as there:\n        there[:: 4096] = bytes(16384)",
    "writes_and_syncs": "path = os.environ['TMPDIR'] + '/storm'\n"
    + _WHILE
    + "with open(path, 'wb') as file:\n        file.write(bytes(4 << 20))\n        file.flush()\n        os.fsync(file)\n"
    "    os.sync()",
    "makes_and_removes_files": "here = os.environ['TMPDIR']\n" + _WHILE + "for number in range(200):\n"
    "        open(f'{here}/{number}', 'w').close()\n    for number in range(200):\n        os.unlink(f'{here}/{number}')",
    "yields_and_wakes": "def bounce():\n    while True:\n        time.sleep(0)\n"
    "for _ in range(40):\n    try:\n        threading.Thread(target=bounce, daemon=True).start()\n"
    "    except RuntimeError as error:\n        print(error)\n        break\n" + _WHILE + "time.sleep(0)",
    "raises_its_class": "for policy in (os.SCHED_FIFO, os.SCHED_RR):\n"
    "    try:\n        os.sched_setscheduler(0, policy, os.sched_param(50))\n    except OSError as error:\n        print(error)\n"
    "try:\n    os.setpriority(os.PRIO_PROCESS, 0, -20)\nexcept OSError as error:\n    print(error)\n" + _WHILE + "pass",
    "asks_for_barriers": "import ctypes\nlibc = ctypes.CDLL(None)\n" + _WHILE + "libc.syscall(324, 1, 0, 0)",
    "floods_its_log": _WHILE + "os.write(1, b'x' * 65536)",
}  # fmt: skip

SLOWING = {name: hostile(top=WORK, main=code) for name, code in _SLOWING.items()}
