"""The fake's pods end as a container does: with everything that they started, and with their disk."""

import threading
import time
from pathlib import Path

from swarm.pods.fake.machine import LocalMachine

WRITES = (
    "import time, pathlib, itertools\nfor n in itertools.count():\n pathlib.Path(f'{n}').mkdir(); time.sleep(0.001)"
)


def test_a_disk_that_is_still_written_to_is_wiped_all_the_same(tmp_path: Path) -> None:
    machine, folder = LocalMachine(tmp_path), tmp_path / "pod"
    until = time.monotonic() + 0.5
    folder.mkdir()

    def write() -> None:
        for number in range(10**6):
            if time.monotonic() > until:
                return
            (folder / str(number) / "deep").mkdir(parents=True, exist_ok=True)

    writer = threading.Thread(target=write)
    writer.start()
    while not list(folder.glob("*/deep")):
        pass
    machine.wipe("pod")
    writer.join()
    assert not folder.exists()


def test_who_ends_a_pod_second_waits_until_it_has_ended(tmp_path: Path) -> None:
    machine = LocalMachine(tmp_path)
    machine.start("pod", f'python -c "{WRITES}"', {})
    while not list(machine.home("pod").glob("9*")):
        assert machine.runs("pod")
    process = machine._processes["pod"]
    first = threading.Thread(target=machine.end, args=("pod",))
    first.start()
    while machine._processes:
        pass
    machine.end("pod")
    assert process.poll() is not None
    machine.wipe("pod")
    first.join()
    assert not (tmp_path / "pod").exists()
