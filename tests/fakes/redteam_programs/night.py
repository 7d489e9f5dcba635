# ruff: noqa: E501 - lines of programs, in quotes
"""One bad thing that ends the night: endings, folders, logs, floods and bombs."""

from fakes.redteam_programs.build import MARK, SYSTEM, TRY, WORK, Kind, Program, hostile

_QUIETLY = (
    SYSTEM
    + WORK
    + f"""
import resource, signal, socket, stat, subprocess, sys
MARK = "{MARK}"
HERE = os.environ["TMPDIR"]

def quietly(action):
    try:
        return action()
    except (OSError, MemoryError, RuntimeError, ValueError) as error:
        print(f"{{type(error).__name__}}: {{str(error)[:200]}}", flush=True)

def until_refused(action, limit=1_000_000):
    for count in range(limit):
        try:
            action(count)
        except (OSError, MemoryError, RuntimeError) as error:
            print("refused at", count, f"{{type(error).__name__}}: {{str(error)[:200]}}", flush=True)
            return
    print("never refused", limit, flush=True)
"""
)

_ENDINGS = {
    **{f"exits_with_{code}": f"raise SystemExit({code})" for code in (*range(16), 255)},
    **{f"leaves_at_once_with_{code}": f"sys.stdout.flush()\nos._exit({code})" for code in (0, 14, 15)},
    "exits_with_words": "raise SystemExit('set-up failed: ' + 'x' * 100000)",
    "exits_with_an_object": "raise SystemExit({'code': [14]})",
    "exits_with_a_huge_number": "raise SystemExit(10 ** 4000)",
    "raises_an_interrupt": "raise KeyboardInterrupt",
    "raises_generator_exit": "raise GeneratorExit",
    "raises_an_error_of_the_harness": "from swarm.harness.errors import DataMissing\nraise DataMissing('no data')",
    "raises_an_error_that_cannot_be_shown": "class Odd(BaseException):\n    def __str__(self):\n        raise Odd()\n"
    "    __repr__ = __str__\nraise Odd()",
    "raises_an_error_of_a_hundred_megabytes": "raise ValueError('\\x1b[2J\\u202e' * 20_000_000)",
    "raises_rubbish_characters": "raise ValueError('\\x1b]0;owned\\x07\\x1b[2J\\u202eabc\\ud800\\x00')",
    "recurses_for_ever": "sys.setrecursionlimit(1 << 30)\ndef down():\n    return down()\ndown()",
    "crashes_in_native_code": "LIBC.memset(0, 1, 1)",
    "aborts_with_a_core": "quietly(lambda: resource.setrlimit(resource.RLIMIT_CORE, (-1, -1)))\nos.abort()",
    "kills_itself": "os.kill(os.getpid(), signal.SIGKILL)",
    "becomes_another_program": "os.execv('/bin/sh', ['sh', '-c', 'exit 0'])",
    "becomes_a_sleeper": "os.execv('/bin/sleep', ['sleep', '600'])",
    "stops_itself": "os.kill(os.getpid(), signal.SIGSTOP)",
    "ignores_every_signal": "for number in range(1, 65):\n    quietly(lambda: signal.signal(number, signal.SIG_IGN))\n"
    "while True:\n    time.sleep(1)",
    "closes_every_descriptor": "os.closerange(0, 65536)",
    "removes_its_own_modules": "sys.modules.clear()\nsys.stdout = sys.stderr = None\nraise ValueError('gone')",
    "leaves_its_streams_broken": "class Broken:\n    def write(self, text):\n        raise OSError(28, 'full')\n"
    "    flush = write\nsys.stdout = sys.stderr = Broken()",
    "kills_its_parent": "quietly(lambda: os.kill(os.getppid(), signal.SIGKILL))\nquietly(lambda: os.kill(1, signal.SIGKILL))",
}  # fmt: skip

_FOLDERS = {
    "leaves_a_deep_folder": "for _ in range(5000):\n    os.mkdir('d')\n    os.chdir('d')",
    "leaves_a_deep_module": "for _ in range(1600):\n    os.mkdir('module')\n    os.chdir('module')\n"
    "    open('__init__.py', 'w').write('X = 1')",
    "leaves_a_deep_train_out": "os.chdir('../train_out')\nfor _ in range(4000):\n    os.mkdir('d')\n    os.chdir('d')",
    "leaves_many_files": "until_refused(lambda count: open(f'{HERE}/{count}', 'w').close(), 20_000)",
    "leaves_many_folders": "until_refused(lambda count: os.mkdir(f'../train_out/{count}'), 10_000)",
    "leaves_many_links": "open(HERE + '/one', 'w').close()\n"
    "until_refused(lambda count: os.link(HERE + '/one', f'{HERE}/{count}'), 10_000)",
    "leaves_sparse_files": "for number in range(50):\n"
    "    quietly(lambda: open(f'../train_out/sparse{number}', 'w').truncate((4 << 30) - 1))",
    "leaves_pipes_sockets_and_nodes": "for place in (HERE, '../train_out', '.'):\n"
    "    for number, kind in enumerate((stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK)):\n"
    "        quietly(lambda: os.mknod(f'{place}/node{number}', kind | 0o666, os.makedev(1, 3)))\n"
    "    quietly(lambda: socket.socket(socket.AF_UNIX).bind(f'{place}/socket'))",
    "leaves_odd_names": "for name in (b'\\xff\\xfe', b'a\\nb', b'\\x1b[2J', b'-rf', b'x' * 255, '\\u202e'.encode(), b'*', b'~'):\n"
    "    quietly(lambda: open(os.fsencode(HERE) + b'/' + name, 'w').close())\n"
    "    quietly(lambda: os.mkdir(b'../train_out/' + name))",
    "leaves_folders_that_nobody_may_enter": "for place in (HERE, '../train_out', '.'):\n"
    "    os.makedirs(place + '/shut/inner', exist_ok=True)\n    open(place + '/shut/inner/file', 'w').close()\n"
    "    quietly(lambda: os.chmod(place + '/shut/inner', 0))\n    quietly(lambda: os.chmod(place + '/shut', 0))\n"
    "    os.umask(0o777)\n    quietly(lambda: os.mkdir(place + '/masked'))\n    os.umask(0o77)",
    "leaves_files_that_cannot_be_changed": "import fcntl\n"
    "for place in (HERE, '../train_out', '.'):\n    there = open(place + '/stone', 'w')\n"
    "    for flags in (0x10, 0x20):\n"
    "        quietly(lambda: fcntl.ioctl(there, 0x40086602, flags.to_bytes(8, 'little')))",
    "replaces_its_folders": "for name in ('../train_out', '../program', '../scratch', '../predict_out', '../private', '../logs'):\n"
    "    quietly(lambda: os.rename(name, name + '.old'))\n    quietly(lambda: os.rmdir(name))\n"
    "    quietly(lambda: os.symlink('/etc', name))",
    "removes_its_program": "for name in os.listdir('.'):\n    quietly(lambda: os.unlink(name))\nquietly(lambda: os.rmdir('.'))",
}  # fmt: skip

_LEFT = {  # after finish(model)
    "leaves_a_folder_for_weights": "os.unlink('../train_out/weights.pt')\nos.makedirs('../train_out/weights.pt/data')",
    "leaves_a_pipe_for_weights": "os.unlink('../train_out/weights.pt')\nquietly(lambda: os.mkfifo('../train_out/weights.pt'))",
    "leaves_a_link_for_weights": "os.unlink('../train_out/weights.pt')\n"
    "quietly(lambda: os.symlink('/dev/zero', '../train_out/weights.pt'))",
    "leaves_weights_that_unfold": "import zipfile\n"
    "with zipfile.ZipFile('../train_out/weights.pt', 'w', zipfile.ZIP_DEFLATED) as archive:\n"
    "    archive.writestr('archive/data.pkl', bytes(1 << 28))",
    "leaves_weights_of_huge_shape": "state = {'classifier.weight': torch.zeros(1).expand(1 << 40), 'classifier.bias': torch.zeros(100)}\n"
    "torch.save(state, '../train_out/weights.pt')",
    "leaves_weights_of_another_kind": "torch.save({'classifier.weight': torch.zeros(100, 192).to_sparse(),\n"
    "            'classifier.bias': torch.full((100,), float('nan'))}, '../train_out/weights.pt')",
    "fills_the_disk": "until_refused(lambda count: open(f'../train_out/fill{count}', 'wb').write(os.urandom(1 << 20) * 64), 40)",
    "fills_its_program_folder": "until_refused(lambda count: open(f'fill{count}.bin', 'wb').write(bytes(64 << 20)), 40)",
}  # fmt: skip

_LOGS = {
    "floods_its_log": "line = b'x' * 65535 + b'\\n'\nfor _ in range(4000):\n    os.write(1, line)",
    "floods_its_log_without_a_line": "for _ in range(4000):\n    os.write(2, b'y' * 65536)",
    "prints_control_characters": "print('\\x1b]0;owned\\x07\\x1b[2J\\u202e' * 1000)\nos.write(1, bytes(range(256)) * 100)",
    "prints_what_the_harness_prints": "print('val_loss: 0.0001\\nvalidation_loss = 1e999\\nphase train could not be set up: lost')",
    "prints_a_number_without_end": "print('val_loss: ' + '9' * 100000)",
    "fills_its_log_and_never_ends_a_line": "os.set_blocking(1, False)\n"
    "for _ in range(3000):\n    quietly(lambda: os.write(1, b'z' * 65536))",
}  # fmt: skip

# Bombs run alone: what they take is taken from everybody.
_BOMBS = {
    "forks_until_refused": "def more(count):\n    if os.fork() == 0:\n        time.sleep(60)\n        os._exit(0)\n"
    "until_refused(more, 3000)",
    "forks_like_a_bomb": "end = time.monotonic() + 4\n"
    "while time.monotonic() < end:\n    try:\n        os.fork()\n    except OSError:\n        time.sleep(0.05)\n"
    "os._exit(0)",
    "starts_threads_until_refused": "def start(count):\n    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    "threading.stack_size(65536)\nuntil_refused(start, 20_000)",
    "leaves_zombies": "def more(count):\n    if os.fork() == 0:\n        os._exit(0)\nuntil_refused(more, 3000)",
    "takes_private_memory": "held = []\nuntil_refused(lambda count: held.append(bytearray(os.urandom(1 << 16)) * 1024), 400)",
    "takes_shared_memory": "import mmap\nheld = []\n"
    "def more(count):\n    held.append(mmap.mmap(-1, 64 << 20))\n    held[-1][::4096] = bytes(16384)\n"
    "until_refused(more, 300)",
    "takes_memory_in_children": "import mmap\n"
    "for _ in range(6):\n    if quietly(os.fork) == 0:\n        held = []\n"
    "        def more(count):\n            held.append(bytearray(32 << 20))\n            held[-1][::4096] = b'x' * 8192\n"
    "        until_refused(more, 100)\n        time.sleep(30)\n        os._exit(0)\ntime.sleep(6)",
    "takes_memory_files": "held = []\n"
    "def more(count):\n    held.append(os.memfd_create('m'))\n    os.write(held[-1], bytes(64 << 20))\n"
    "until_refused(more, 200)",
    "hides_memory_in_messages": "ours, theirs = socket.socketpair()\nours.setblocking(False)\n"
    "def more(count):\n"
    "    there = os.memfd_create('m')\n    for _ in range(4):\n        os.write(there, bytes(64 << 20))\n"
    "    socket.send_fds(ours, [b'x'], [there])\n    os.close(there)\nuntil_refused(more, 16)\ntime.sleep(3)",
    "hides_memory_in_pipes": "import fcntl\nheld = []\n"
    "def more(count):\n    held.append(os.pipe())\n    fcntl.fcntl(held[-1][1], 1031, 1 << 20)\n"
    "    os.set_blocking(held[-1][1], False)\n    os.write(held[-1][1], bytes(1 << 20))\nuntil_refused(more, 4000)",
    "hides_memory_in_sockets": "held = []\n"
    "def more(count):\n    held.append(socket.socketpair())\n"
    "    held[-1][0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30)\n"
    "    held[-1][0].setblocking(False)\n"
    "    try:\n        while True:\n            held[-1][0].send(bytes(65536))\n    except BlockingIOError:\n        pass\n"
    "until_refused(more, 4000)",
    "takes_mapped_files": "import mmap\nheld = []\n"
    "def more(count):\n    with open(f'{HERE}/map{count}', 'w+b') as file:\n        file.truncate(64 << 20)\n"
    "        held.append(mmap.mmap(file.fileno(), 64 << 20))\n    held[-1][::4096] = b'x' * 16384\nuntil_refused(more, 100)",
    "takes_shared_memory_of_system_v": "def more(count):\n"
    "    held = LIBC.shmget(0, 64 << 20, 0o1666)\n    at = LIBC.shmat(held, None, 0) if held >= 0 else -1\n"
    "    if at == -1:\n        raise OSError(ctypes.get_errno(), 'refused')\n    LIBC.memset(ctypes.c_void_p(at), 1, 64 << 20)\n"
    "until_refused(more, 200)",
    "locks_its_memory": "import mmap\nheld = []\n"
    "def more(count):\n    held.append(LIBC.mmap(None, ctypes.c_size_t(16 << 20), 3, 0x22, -1, 0))\n"
    "    if LIBC.mlock(ctypes.c_void_p(held[-1]), ctypes.c_size_t(16 << 20)):\n"
    "        raise OSError(ctypes.get_errno(), 'refused')\nuntil_refused(more, 400)",
    "takes_watches": "def more(count):\n    there = LIBC.inotify_init1(0)\n"
    "    if there < 0 or LIBC.inotify_add_watch(there, HERE.encode(), 0xFFF) < 0:\n"
    "        raise OSError(ctypes.get_errno(), 'refused')\nuntil_refused(more, 100_000)",
    "takes_descriptors": "held = []\nuntil_refused(lambda count: held.append(os.open('/dev/null', os.O_RDONLY)), 2_000_000)",
    "takes_pipes": "held = []\n"
    "def more(count):\n    held.append(os.pipe())\n    os.set_blocking(held[-1][1], False)\n    os.write(held[-1][1], bytes(65536))\n"
    "until_refused(more, 40_000)",
    "takes_locks": "import fcntl, struct\nthere = open(HERE + '/locks', 'w')\n"
    "def more(count):\n    fcntl.lockf(there, fcntl.LOCK_EX, 1, count * 2)\nuntil_refused(more, 20_000)",
    "takes_timers": "def more(count):\n    room = ctypes.create_string_buffer(8)\n"
    "    if LIBC.timer_create(1, None, room):\n        raise OSError(ctypes.get_errno(), 'refused')\nuntil_refused(more, 100_000)",
    "takes_messages": "def more(count):\n    if LIBC.msgget(0, 0o1666) < 0:\n        raise OSError(ctypes.get_errno(), 'refused')\n"
    "until_refused(more, 40_000)",
}  # fmt: skip

_PREDICT = {
    **{f"exits_predict_with_{code}": f"if in_predict():\n    raise SystemExit({code})" for code in (0, 14, 15)},
    "sleeps_in_predict_for_a_while": "if in_predict():\n    time.sleep(3)",
    "builds_no_model": "if in_predict():\n    return 14",
    "leaves_a_link_for_logits": "if in_predict():\n    quietly(lambda: os.symlink('/dev/zero', '../predict_out/logits.npy'))\n"
    "    os._exit(0)",
    "leaves_a_pipe_for_logits": "if in_predict():\n    quietly(lambda: os.mkfifo('../predict_out/logits.npy'))\n    os._exit(0)",
    "leaves_a_header_bomb_for_logits": "if in_predict():\n"
    "    open('../predict_out/logits.npy', 'wb').write(b'\\x93NUMPY\\x01\\x00\\xff\\xff' + b'(' * 65535)\n    os._exit(0)",
}  # fmt: skip

_NEVER = ("stops_itself", "recurses_for_ever", "ignores_every_signal", "becomes_a_sleeper")


def _walltime_s(name: str) -> float:
    return 5.0 if name in _NEVER else 40.0


NIGHT = (
    *(
        Program(name, Kind.NIGHT, hostile(top=_QUIETLY, main=code), walltime_s=_walltime_s(name))
        for name, code in (_ENDINGS | _FOLDERS | _LOGS).items()
    ),
    *(Program(name, Kind.NIGHT, hostile(top=_QUIETLY, after=code), walltime_s=40.0) for name, code in _LEFT.items()),
    *(Program(name, Kind.NIGHT, hostile(top=_QUIETLY, build=code)) for name, code in _PREDICT.items()),
    *(
        Program(
            name,
            Kind.NIGHT,
            hostile(top=_QUIETLY, main=code),
            walltime_s=40.0,
            alone=True,
            may_have_it_all=name in ("takes_locks", "takes_timers", "leaves_zombies", "locks_its_memory"),
        )
        for name, code in _BOMBS.items()
    ),
    Program("exits_at_its_import_with_15", Kind.NIGHT, hostile(top=TRY + "os._exit(15)")),
    Program("exits_at_its_import_with_14", Kind.NIGHT, hostile(top="raise SystemExit(14)")),
)
