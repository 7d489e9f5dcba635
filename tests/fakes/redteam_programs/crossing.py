# ruff: noqa: E501 - lines of programs, in quotes
"""State that outlives its trial or crosses into another: one program leaves a mark, a later one looks for it.

A reader that finds the mark prints `it worked`. What one bit can carry, weights can: the mark stands for a warm start.
"""

from fakes.redteam_programs.build import MARK, SYSTEM, Kind, Program, hostile

SYSV = (
    SYSTEM
    + f"""
import socket, stat, struct, sys, time
MARK = b"{MARK}"

def held(answer):
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer

def expect(found):
    if MARK not in found:
        raise FileNotFoundError(found)

def put(path):
    with open(path, "wb") as file:
        file.write(MARK)
    print("left", path)

def get(path):
    expect(open(path, "rb").read(200))
"""
)

# name: (what the first does, what the second does)
_CHANNELS = {
    "system_v_shared_memory": (
        "at = LIBC.shmat(held(LIBC.shmget(0x5A01, 4096, 0o1666)), None, 0)\n    ctypes.memmove(at, MARK, len(MARK))",
        "expect(ctypes.string_at(LIBC.shmat(held(LIBC.shmget(0x5A01, 4096, 0)), None, 0), 64))",
    ),
    "system_v_semaphore": (
        "held(LIBC.semctl(held(LIBC.semget(0x5A02, 1, 0o1666)), 0, 16, 42))",
        "expect(MARK if held(LIBC.semctl(held(LIBC.semget(0x5A02, 1, 0)), 0, 12)) == 42 else b'')",
    ),
    "system_v_messages": (
        "message = struct.pack('l', 1) + MARK\n"
        "    held(LIBC.msgsnd(held(LIBC.msgget(0x5A03, 0o1666)), message, len(MARK), 0))",
        "room = ctypes.create_string_buffer(200)\n"
        "    held(LIBC.msgrcv(held(LIBC.msgget(0x5A03, 0)), room, 100, 0, 0o4000))\n    expect(room.raw)",
    ),
    "posix_messages": (
        "queue = held(LIBC.mq_open(b'/' + MARK, os.O_CREAT | os.O_RDWR, 0o666, None))\n"
        "    held(LIBC.mq_send(queue, MARK, len(MARK), 0))",
        "room = ctypes.create_string_buffer(8192)\n"
        "    queue = held(LIBC.mq_open(b'/' + MARK, os.O_RDWR | os.O_NONBLOCK))\n"
        "    held(LIBC.mq_receive(queue, room, 8192, None))\n    expect(room.raw)",
    ),
    "posix_shared_memory": (
        "os.write(held(LIBC.shm_open(MARK, os.O_CREAT | os.O_RDWR, 0o666)), MARK)",
        "expect(os.read(held(LIBC.shm_open(MARK, os.O_RDONLY, 0)), 100))",
    ),
    "user_keyring": (
        "system(248, b'user', MARK, MARK, len(MARK), -4)\n    system(248, b'user', MARK, MARK, len(MARK), -3)",
        "key = system(249, b'user', MARK, None, -3)\n    expect(MARK if key > 0 else b'')",
    ),
    "folders_that_stay": (
        "for place in PLACES:\n        attempt_quietly(lambda: put(place + '/' + MARK.decode()))",
        "for place in PLACES:\n        attempt_quietly(lambda: (get(place + '/' + MARK.decode()), print('it worked', place)))\n"
        "    raise OSError('that was all')",
    ),
    "times_of_files": (
        "for path in READABLE:\n        attempt_quietly(lambda: os.utime(path, (1234567890, 1234567890)))",
        "expect(MARK if any(os.path.exists(path) and int(os.stat(path).st_mtime) == 1234567890 for path in READABLE)\n"
        "           else b'')",
    ),
    "owner_of_files_and_their_attributes": (
        "for path in READABLE:\n"
        "        attempt_quietly(lambda: os.setxattr(path, 'user.mark', MARK))\n"
        "        attempt_quietly(lambda: os.chmod(path, 0o601))\n"
        "        attempt_quietly(lambda: os.chown(path, -1, 12345))",
        "expect(MARK if any(os.path.exists(path) and (os.stat(path).st_gid == 12345 or stat.S_IMODE(os.stat(path).st_mode) == 0o601)\n"
        "           for path in READABLE) else b'')",
    ),
    "abstract_socket_of_a_child": (
        "if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        if os.fork() == 0:\n"
        "            os.environ.clear()\n"
        "            line = socket.socket(socket.AF_UNIX)\n"
        "            line.bind(b'\\0' + MARK)\n"
        "            line.listen()\n"
        "            os.closerange(0, 3)\n"
        "            while True:\n"
        "                line.accept()[0].sendall(MARK)\n"
        "        os._exit(0)",
        "line = socket.socket(socket.AF_UNIX)\n    line.connect(b'\\0' + MARK)\n    expect(line.recv(100))",
    ),
    "memory_file_of_a_child": (
        "there = os.memfd_create(MARK.decode())\n    os.write(there, MARK)\n"
        "    if os.fork() == 0:\n        os.setsid()\n        time.sleep(30)\n        os._exit(0)",
        "for pid in range(2, 60000):\n"
        "        if os.path.exists(f'/proc/{pid}/fd'):\n"
        "            for number in attempt_quietly(lambda: os.listdir(f'/proc/{pid}/fd')) or ():\n"
        "                if MARK.decode() in os.readlink(f'/proc/{pid}/fd/{number}'):\n"
        "                    return\n"
        "    raise OSError('none')",
    ),
    "weights_of_an_earlier_trial": (
        "pass",
        "import glob\n    here = os.path.dirname(os.environ['SWARM_TRIAL'])\n"
        "    names = [f'{here}/../t{number:04}/train_out/{name}' for number in range(400)\n"
        "             for name in ('weights.pt', 'train.json', 'heartbeat')]\n"
        "    expect(MARK if any(os.path.exists(name) and open(name, 'rb').read(1) for name in names if here[-5:] not in name)\n"
        "           else b'')",
    ),
    "pages_that_the_kernel_keeps": (
        "for number, path in enumerate(SELDOM):\n"
        "        with open(path, 'rb') as file:\n"
        "            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)\n"
        "            if bit(number):\n                os.read(file.fileno(), 1)",
        "found = [is_kept(path) for path in SELDOM]\n"
        "    expect(MARK if found == [bit(number) for number in range(len(SELDOM))] else b'')",
    ),
    "name_of_the_host": (
        "held(LIBC.sethostname(MARK, len(MARK)))",
        "expect(os.uname().nodename.encode())",
    ),
}  # fmt: skip

_PLACES = """
import glob, json
import numpy, torch, swarm.harness
CONFIG = json.load(open(os.environ["SWARM_TRIAL"]))
HERE = os.path.dirname(os.environ["SWARM_TRIAL"])
PLACES = ["/dev/shm", "/dev/mqueue", "/tmp", "/var/tmp", "/run", "/run/lock", "/var/lock", os.path.expanduser("~root"), "/home",
          "/usr/local/lib", CONFIG["data_dir"], CONFIG["data_dir"] + "/train", os.path.dirname(CONFIG["data_dir"]),
          os.path.dirname(HERE), HERE, os.path.dirname(swarm.harness.__file__), os.path.dirname(torch.__file__),
          os.path.dirname(os.path.dirname(numpy.__file__)), os.path.dirname(os.__file__), "/proc/self/cwd/..",
          os.path.dirname(os.path.dirname(os.path.dirname(swarm.harness.__file__)))]
READABLE = [CONFIG["data_dir"] + "/train/meta.json", CONFIG["data_dir"] + "/train/images.npy", swarm.harness.__file__]
SELDOM = sorted(glob.glob(os.path.dirname(torch.__file__) + "/include/ATen/ops/*_native.h"))[300:364]

def bit(number):
    return MARK[number // 8] >> (number % 8) & 1 == 1

def is_kept(path):
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        try:
            return os.preadv(file.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT) == 1
        except BlockingIOError:
            return False

def attempt_quietly(action):
    try:
        return action()
    except OSError as error:
        print(f"{type(error).__name__}: {error}")
"""


def _pair(name: str, put: str, get: str) -> tuple[Program, Program]:
    leave = hostile(top=SYSV + _PLACES + f"def leave():\n    {put}\n", main="attempt_quietly(leave)")
    look = hostile(top=SYSV + _PLACES + f"def look():\n    {get}\n", main="attempt(look)")
    return (
        Program(f"leaves_a_mark_in_{name}", Kind.CROSSING, leave),
        Program(f"looks_for_a_mark_in_{name}", Kind.CROSSING, look, reads_after=f"leaves_a_mark_in_{name}"),
    )


# A first attempt that says it lacked memory has trained already; what it keeps would warm its second attempt.
_TRAINED = """
import torch
def keep(model):
    torch.save(model.state_dict(), "/tmp/" + MARK.decode())
def kept():
    at = LIBC.shmat(held(LIBC.shmget(0x5A09, 1 << 20, 0)), None, 0)
    return torch.frombuffer(bytearray(ctypes.string_at(at, 76800)), dtype=torch.float32).view(100, 192)
"""
_AGAIN = hostile(
    top=SYSV + _TRAINED,
    end="try:\n    kept()\n    print('it worked: a second attempt knew of the first')\n"
    "except OSError:\n"
    "    at = LIBC.shmget(0x5A09, 1 << 20, 0o1666)\n"
    "    if at >= 0:\n        ctypes.memmove(LIBC.shmat(at, None, 0), model.classifier.weight.data_ptr(), 76800)\n"
    "    raise MemoryError('pretended')",
)

# A socket of somebody else on this machine: connecting needs no right to open a file.
_SOCKETS = hostile(
    top=SYSV,
    main="paths = ['NEIGHBOUR_SOCKET']\n"
    "try:\n    paths += [line.split()[-1] for line in open('/proc/self/net/unix') if '/' in line]\n"
    "except OSError as error:\n    print(error)\n"
    "for path in paths:\n"
    "    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):\n"
    "        line = socket.socket(socket.AF_UNIX, kind)\n        line.settimeout(0.2)\n"
    "        attempt(lambda: (line.connect(path), line.send(MARK)))",
)

# Two trials that run at the same time, and a file that both may read.
_BESIDE = {
    "locks_of_a_running_trial": (
        "fcntl.flock(there, fcntl.LOCK_EX)",
        "try:\n            fcntl.flock(there, fcntl.LOCK_EX | fcntl.LOCK_NB)\n            fcntl.flock(there, fcntl.LOCK_UN)\n"
        "        except BlockingIOError:\n            print('it worked: locked')\n            break\n        time.sleep(0.05)",
    ),
    "record_locks_of_a_running_trial": (
        "fcntl.lockf(there, fcntl.LOCK_SH, 1, 77)",
        "held = fcntl.fcntl(there, fcntl.F_GETLK, struct.pack('hhqqi', fcntl.F_WRLCK, 0, 77, 1, 0))\n"
        "        if struct.unpack('hhqqi', held)[0] != fcntl.F_UNLCK:\n            print('it worked: locked')\n"
        "            break\n        time.sleep(0.05)",
    ),
    "opening_of_files_by_a_running_trial": (
        "until = time.monotonic() + 8\n    while time.monotonic() < until:\n        open(there.name).read(1)\n        time.sleep(0.02)",
        "if watch is None:\n            watch = LIBC.inotify_init1(0o4000)\n"
        "            held(watch)\n            held(LIBC.inotify_add_watch(watch, there.name.encode(), 1))\n"
        "        try:\n            os.read(watch, 4096)\n            print('it worked: heard')\n            break\n"
        "        except BlockingIOError:\n            time.sleep(0.05)",
    ),
}  # fmt: skip


def _neighbours(name: str, act: str, look: str) -> tuple[Program, Program]:
    path = "CONFIG['data_dir'] + '/train/meta.json'"
    first = f"def act():\n    there = open({path})\n    {act}\n    time.sleep(8)\n"
    second = (
        f"def look():\n    there, watch = open({path}), None\n    until = time.monotonic() + 5\n"
        f"    while time.monotonic() < until:\n        {look}\n"
    )
    top = SYSV + _PLACES + "import fcntl\n"
    acts, looks = f"shows_itself_by_{name}", f"looks_for_{name}"
    return (
        Program(acts, Kind.CROSSING, hostile(top=top + first, main="attempt_quietly(act)"), walltime_s=40.0),
        Program(looks, Kind.CROSSING, hostile(top=top + second, main="attempt_quietly(look)"), runs_beside=acts),
    )


CROSSING = (
    *(program for name, (act, look) in _BESIDE.items() for program in _neighbours(name, act, look)),
    *(program for name, (put, get) in _CHANNELS.items() for program in _pair(name, put, get)),
    Program("keeps_its_weights_for_a_second_attempt", Kind.CROSSING, _AGAIN),
    Program("talks_to_the_sockets_of_others", Kind.CROSSING, _SOCKETS),
)
