"""A trial under its supervisor: phases in order, limits, environment, output, the result."""

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.trial_programs import LIST_OPEN_FILES, Programs, finish, until

from swarm.errors import TrialError
from swarm.supervisor import TrialResult, TrialSpec, attach
from swarm.trial.contract import ExitCode

CANARY = "canary-8f3a"


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    built = Programs(tmp_path)
    built.folder.mkdir()
    built.modules.mkdir()
    yield built
    built.close()


def test_phases_run_in_order_and_leave_a_result(programs: Programs) -> None:
    first = programs.phase("print('one'); open('../order', 'a').write('1')", "train")
    second = programs.phase("print('two'); open('../order', 'a').write('2')", "score")
    result = programs.run(first, second)
    assert [(phase.name, phase.ending, phase.exit_code) for phase in result.phases] == [
        ("train", "ok", 0),
        ("score", "ok", 0),
    ]
    assert (programs.folder / "order").read_text() == "12"
    assert (programs.log("train"), programs.log("score")) == ("one\n", "two\n")
    assert result.stopped_reason is None
    train = result.phases[0]
    assert train.ready_s is not None and 0 < train.ready_s <= train.seconds
    assert train.peak_rss_mib > 1
    assert train.cpu_seconds > 0
    assert result.started_at <= result.ended_at


def test_the_result_on_disk_is_the_one_that_poll_gives(programs: Programs) -> None:
    result = programs.run(programs.phase("pass"))
    assert TrialResult.from_json((programs.folder / "result.json").read_text()) == result


def test_a_failed_phase_ends_the_trial(programs: Programs) -> None:
    failing = programs.phase("import sys; print('loss is nan'); sys.exit(10)", "train")
    result = programs.run(failing, programs.phase("open('../ran', 'w')", "score"))
    assert [(phase.ending, phase.exit_code) for phase in result.phases] == [("exit", 10)]
    assert "loss is nan" in result.phases[0].detail
    assert not (programs.folder / "ran").exists()


def test_a_crash_leaves_its_traceback_in_the_log(programs: Programs) -> None:
    result = programs.run(programs.phase("raise RuntimeError('broken here')"))
    assert result.phases[0].exit_code == 1
    assert "RuntimeError: broken here" in result.phases[0].detail
    assert "Traceback" in programs.log()


def test_a_module_that_cannot_be_set_up_is_a_failed_set_up(programs: Programs) -> None:
    phase = programs.phase("pass", "train")
    result = programs.run(type(phase)(**{**phase.__dict__, "module": "no_such_package.train"}))
    assert (result.phases[0].exit_code, result.phases[0].ready_s) == (ExitCode.SETUP_FAILED, None)
    assert "set-up failed" in result.phases[0].detail and "no_such_package" in result.phases[0].detail


def test_exit_code_of_the_set_up_by_the_program_itself_is_not_a_failed_set_up(programs: Programs) -> None:
    phase = programs.run(programs.phase(f"import sys; sys.exit({int(ExitCode.SETUP_FAILED)})")).phases[0]
    assert phase.ready_s is not None
    assert "set-up" not in phase.detail


def test_the_supervisor_is_told_when_the_candidates_code_begins_and_the_line_is_closed(programs: Programs) -> None:
    source = "from swarm.trial.contract import candidate_begins\ncandidate_begins()\n"
    begun = programs.run(programs.phase(source + textwrap.dedent(LIST_OPEN_FILES))).phases[0]
    assert begun.begun and "socket" not in "".join(programs.log().splitlines()[3:])


def test_what_never_called_itself_begun_is_not(programs: Programs) -> None:
    assert not programs.run(programs.phase("pass")).phases[0].begun


def test_death_by_a_signal_is_named(programs: Programs) -> None:
    phase = programs.run(programs.phase("import os; os.kill(os.getpid(), 11)")).phases[0]
    assert (phase.ending, phase.signal, phase.exit_code) == ("signal", 11, None)


def test_a_kill_from_elsewhere_without_memory_pressure_is_a_signal(programs: Programs) -> None:
    phase = programs.run(programs.phase("import os; os.kill(os.getpid(), 9)")).phases[0]
    assert (phase.ending, phase.signal) == ("signal", 9)


def test_program_and_scratch_are_removed_stray_files_with_them(programs: Programs) -> None:
    source = """
        import os, pathlib
        pathlib.Path('stray.txt').write_text('x')
        deep = pathlib.Path(os.environ['HOME'])
        for _ in range(1200):
            deep = deep / 'd'
            os.mkdir('d'); os.chdir('d')
        os.mkdir('closed', 0o000)
    """
    programs.run(programs.phase(source, trusted=False))
    left = {entry.name for entry in programs.folder.iterdir()}
    assert left.isdisjoint({"program", "scratch"})
    assert {"result.json", "logs", "train_out"} <= left


def test_the_environment_is_an_allow_list(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("MY_TOKEN", CANARY)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    source = """
        import json, os, pathlib
        try:
            up = pathlib.Path(f'/proc/{os.getppid()}/environ').read_bytes().decode()
        except PermissionError:  # it is closed to all but root
            up = ''
        print(json.dumps({'own': dict(os.environ), 'supervisor': up}))
    """
    programs.run(programs.phase(source, threads=3), env={"SWARM_TRIAL": "/somewhere/harness.json"})
    seen = json.loads(programs.log())
    assert CANARY not in programs.log()
    assert not any(CANARY in path.read_text() for path in programs.folder.rglob("*") if path.is_file())
    assert seen["own"]["CUDA_VISIBLE_DEVICES"] == "0"
    assert seen["own"]["OMP_NUM_THREADS"] == "3"
    assert seen["own"]["SWARM_TRIAL"] == "/somewhere/harness.json"
    assert seen["own"]["SWARM_TRIAL_DIR"] == str(programs.folder)
    assert seen["own"]["HOME"].startswith(str(programs.folder))


def test_a_supervisor_is_closed_to_its_own_user_and_adopts_what_is_left(tmp_path: Path) -> None:
    """Not even a process of the same user may read its memory or its descriptors."""
    code = (
        "import ctypes, sys; from pathlib import Path; from swarm.supervisor.run import _prepare\n"
        "from swarm.trial.folder import TrialFolder; _prepare(TrialFolder(Path(sys.argv[1])), None)\n"
        "adopts = ctypes.c_int(0); ctypes.CDLL(None).prctl(37, ctypes.byref(adopts), 0, 0, 0)\n"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), adopts.value)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "t0001")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["0", "1"]


def test_no_descriptor_of_the_launcher_is_inherited(programs: Programs) -> None:
    secret = programs.root / "labels.txt"
    secret.write_text("labels")
    descriptor = os.open(secret, os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    try:
        programs.run(programs.phase(LIST_OPEN_FILES))
    finally:
        os.close(descriptor)
    assert "labels.txt" not in programs.log()
    assert str(programs.folder / "input") in programs.log()


def test_a_flood_of_output_is_capped_and_does_not_block(programs: Programs) -> None:
    source = """
        import os, time
        print('the first line', flush=True)
        block = b'x' * (1 << 20)
        for _ in range(1000):
            os.write(1, block)
        time.sleep(0.3)  # bytes written during a trim may be lost
        print('the last line')
    """
    running = programs.launch(programs.spec(programs.phase(source), log_limit_bytes=100_000))
    log, largest = programs.folder / "logs" / "train.log", 0

    def over() -> TrialResult | None:
        nonlocal largest
        largest = max(largest, log.stat().st_blocks * 512 if log.exists() else 0)
        return running.poll()

    result = until(over, "the flood ended")
    text = log.read_text()
    assert result.phases[0].ending == "ok"
    assert len(text) <= 100_000 + 100
    assert text.startswith("the first line") and text.endswith("the last line\n") and "bytes dropped" in text
    assert largest < 400 << 20


def test_the_cpu_limit_counts_the_whole_tree(programs: Programs) -> None:
    source = """
        import os
        for _ in range(2):
            if os.fork() == 0:
                while True: pass
        import time; time.sleep(60)
    """
    phase = programs.run(programs.phase(source, cpu_limit_s=0.4, walltime_limit_s=20.0)).phases[0]
    assert phase.ending == "cpu_limit"
    assert 0.4 < phase.cpu_seconds < 5


def test_cpu_time_of_ended_children_counts(programs: Programs) -> None:
    source = """
        import os, time
        for _ in range(100):
            pid = os.fork()
            if pid == 0:
                end = time.process_time() + 0.1
                while time.process_time() < end: pass
                os._exit(0)
            os.waitpid(pid, 0)
    """
    assert programs.run(programs.phase(source, cpu_limit_s=0.5)).phases[0].ending == "cpu_limit"


def test_a_stalled_training_is_ended(programs: Programs) -> None:
    source = """
        import pathlib, struct, time
        beat = pathlib.Path('../train_out/heartbeat')
        for step in range(3):
            beat.write_bytes(struct.pack('<dQddd', step + 1.0, step, 0, 0, 0)); time.sleep(0.1)
        time.sleep(60)
    """
    phase = programs.run(programs.phase(source, stall_limit_s=0.4)).phases[0]
    assert phase.ending == "stalled"
    assert phase.seconds < 5


def test_a_beating_training_is_not_stalled(programs: Programs) -> None:
    source = """
        import pathlib, struct, time
        beat = pathlib.Path('../train_out/heartbeat')
        for step in range(20):
            beat.write_bytes(struct.pack('<dQddd', step + 1.0, step, 0, 0, 0)); time.sleep(0.05)
    """
    assert programs.run(programs.phase(source, stall_limit_s=0.6)).phases[0].ending == "ok"


def test_the_first_step_may_take_three_times_as_long(programs: Programs) -> None:
    """It compiles. The beats before it, of the warm-up, do not change that; nor does the first step's own."""
    source = """
        import pathlib, struct, time
        beat = pathlib.Path('../train_out/heartbeat')
        beat.write_bytes(struct.pack('<dQddd', 1.0, 0, 0, 0, 0)); time.sleep(1.2)
        beat.write_bytes(struct.pack('<dQddd', 2.0, 0, 0, 0, 0)); time.sleep({pause})
    """
    assert programs.run(programs.phase(source.format(pause=1.2), stall_limit_s=0.8)).phases[0].ending == "ok"
    (programs.folder / "supervisor.json").unlink()
    assert programs.run(programs.phase(source.format(pause=60), stall_limit_s=0.8)).phases[0].ending == "stalled"


def test_a_pipe_in_place_of_the_heartbeat_does_not_stop_the_watch(programs: Programs) -> None:
    source = "import os, time; os.mkfifo('../train_out/heartbeat'); time.sleep(60)"
    phase = programs.run(programs.phase(source, stall_limit_s=30.0, walltime_limit_s=1.0)).phases[0]
    assert phase.ending == "walltime"
    assert phase.seconds < 5


def test_stop_ends_the_tree_and_says_why(programs: Programs) -> None:
    running = programs.launch(
        programs.spec(programs.phase("import time; time.sleep(60)"), programs.phase("1", "score"))
    )
    running.stop("vetoed")
    result = finish(running)
    assert [phase.ending for phase in result.phases] == ["stopped"]
    assert result.stopped_reason == "vetoed"
    running.stop("again: nothing happens")


def test_attach_finds_a_running_and_a_finished_trial_and_no_other(programs: Programs) -> None:
    assert attach(programs.folder) is None
    running = programs.launch(programs.spec(programs.phase("import time; time.sleep(0.5)")))
    found = attach(programs.folder)
    assert found is not None and found.pid == running.pid and found.poll() is None
    result = finish(running)
    assert until(found.poll, "seen over") == result
    late = attach(programs.folder)
    assert late is not None and late.pid is None and late.poll() == result


def test_the_trial_goes_on_when_its_launcher_dies(programs: Programs) -> None:
    spec = programs.spec(programs.phase("import time; time.sleep(0.6)"))
    (programs.folder / "given.json").write_text(spec.to_json())
    source = (
        "import os, pathlib, sys; from swarm.supervisor import TrialSpec, launch;"
        "launch(TrialSpec.from_json(pathlib.Path(sys.argv[1]).read_text()), None); os.kill(os.getpid(), 9)"
    )
    root = str(Path(__file__).parents[3])
    subprocess.run([sys.executable, "-c", source, str(programs.folder / "given.json")], cwd=root, check=False)
    found = attach(programs.folder)
    assert found is not None
    assert finish(found).phases[0].ending == "ok"


def test_a_phase_finds_nothing_that_another_left_in_its_home(programs: Programs) -> None:
    """Nor in its folder for temporary files, which is the same one."""
    leave = "import os, pathlib; pathlib.Path(os.environ['HOME'], 'left').write_text('x')"
    look = "import os; print(os.listdir(os.environ['HOME']))"
    result = programs.run(programs.phase(leave, trusted=False), programs.phase(look, "predict", trusted=False))
    assert [phase.ending for phase in result.phases] == ["ok", "ok"], programs.log()
    assert "left" not in programs.log("predict")


def test_a_trial_is_not_run_again_in_its_folder(programs: Programs) -> None:
    spec = programs.spec(programs.phase("pass"))
    finish(programs.launch(spec))
    with pytest.raises(TrialError, match="started in"):
        programs.launch(spec)


def test_a_folder_that_is_not_there_is_named(programs: Programs) -> None:
    with pytest.raises(TrialError, match="existing folder"):
        programs.launch(TrialSpec("s", "t", str(programs.root / "absent"), ()))


def test_a_memory_limit_ends_in_a_memory_error(programs: Programs) -> None:
    phase = programs.run(programs.phase("bytearray(600 << 20)"), memory_limit_mib=400).phases[0]
    assert phase.exit_code == 1
    assert "MemoryError" in phase.detail


def test_no_core_file_and_bounded_files(programs: Programs) -> None:
    source = """
        import resource as r
        print(r.getrlimit(r.RLIMIT_CORE), r.getrlimit(r.RLIMIT_MSGQUEUE))
        print(*(r.getrlimit(getattr(r, f"RLIMIT_{name}"))[1] for name in ("FSIZE", "NOFILE", "MEMLOCK")))
    """
    programs.run(programs.phase(source))
    none, limits = programs.log().splitlines()
    assert none == "(0, 0) (0, 0)"
    file_size, open_files, locked = map(int, limits.split())
    assert 0 < file_size <= 2 << 30 and 0 < open_files <= 4096 and 0 < locked <= 64 << 10


def test_the_command_line_runs_a_trial(programs: Programs) -> None:
    spec_path = programs.folder / "spec.json"
    spec_path.write_text(programs.spec(programs.phase("pass")).to_json())
    root = str(Path(__file__).parents[3])
    subprocess.run([sys.executable, "-m", "swarm.supervisor", str(spec_path)], cwd=root, check=True, timeout=20)
    found = attach(programs.folder)
    assert found is not None and found.poll() is not None


def test_a_damaged_spec_is_refused_with_a_reason() -> None:
    with pytest.raises(TrialError, match="not a TrialSpec"):
        TrialSpec.from_json('{"study_id": "s", "colour": 3}')
    with pytest.raises(TrialError, match="not a TrialResult"):
        TrialResult.from_json("[1]")


def test_a_spec_survives_the_journey(programs: Programs) -> None:
    spec = programs.spec(programs.phase("pass", stall_limit_s=3.0, write=("/a", "/b")), env={"A": "b"})
    assert TrialSpec.from_json(spec.to_json()) == spec


def test_the_supervising_process_stays_light() -> None:
    source = "import sys, swarm.supervisor.run; print({'pydantic', 'numpy', 'torch'} & set(sys.modules))"
    root = str(Path(__file__).parents[3])
    ran = subprocess.run([sys.executable, "-c", source], cwd=root, check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == "set()"


def test_walltime_counts_from_the_start_of_the_process(programs: Programs) -> None:
    began = time.monotonic()
    phase = programs.run(programs.phase("import time; time.sleep(60)", walltime_limit_s=0.6)).phases[0]
    assert phase.ending == "walltime"
    assert 0.6 <= phase.seconds < 3
    assert time.monotonic() - began < 8
