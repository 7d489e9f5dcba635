"""One allocation outside of the sandbox and one inside, before a study. The card and what torch says are fakes here."""

import json
import os
import stat
from pathlib import Path

import pytest
from fakes import fake_selftest_child
from fakes.fake_nvml import FakeNvml

from swarm.admission.selftest import children, usable
from swarm.admission.selftest.usable import require_usable
from swarm.gpu import NvmlProbe, Unusable
from swarm.gpu.unusable import TorchFacts
from swarm.sandbox.policy import Mode

WORKS = {"torch": "2.12.0+cu130", "built_for": "13.0", "computed": [1.0], "error": ""}
LEVEL = "namespaces+landlock+seccomp"


@pytest.fixture(autouse=True)
def faked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "CHILD", Path(fake_selftest_child.__file__))
    said_outside(monkeypatch, WORKS)
    said_inside(monkeypatch)


def said_outside(monkeypatch: pytest.MonkeyPatch, facts: dict[str, object] | None, stderr: str = "") -> None:
    monkeypatch.setenv("FAKE_FACTS", json.dumps(facts) if facts else "")
    monkeypatch.setenv("FAKE_STDERR", stderr)


def said_inside(monkeypatch: pytest.MonkeyPatch, error: str = "") -> None:
    def inside(uuids: str, sandbox: Mode) -> tuple[TorchFacts, str]:
        assert uuids.startswith("GPU-")
        return TorchFacts("2.12.0", "13.0", error), LEVEL if sandbox == "strict" else "landlock"

    monkeypatch.setattr(usable, "_inside", inside)


def card(trace: str = "v2_driver") -> NvmlProbe:
    return NvmlProbe(FakeNvml(trace), environment={})


def test_a_card_that_works_is_told_with_what_was_tried() -> None:
    found = str(require_usable(card(), "strict", nodes=()))
    assert found.startswith("NVIDIA GeForce RTX 4090, driver 580.95.05, torch 2.12.0+cu130: ")
    assert f"outside of the sandbox and inside it ({LEVEL})" in found


def test_a_card_that_works_outside_only_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    said_inside(monkeypatch, "Error 304: OS call failed")
    with pytest.raises(Unusable, match=r"works, and not in the sandbox of a trial \(landlock\): Error 304"):
        require_usable(card(), nodes=())


def test_a_card_that_does_not_work_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    said_outside(monkeypatch, {**WORKS, "error": "No CUDA GPUs are available"})
    with pytest.raises(Unusable, match="torch sees no card"):
        require_usable(card(), nodes=())
    said_outside(monkeypatch, {**WORKS, "torch": "2.12.0+cpu", "built_for": None})
    with pytest.raises(Unusable, match="built without CUDA"):
        require_usable(card(), nodes=())
    said_outside(monkeypatch, {**WORKS, "error": "x"})
    with pytest.raises(Unusable, match=r"needs driver 580 or later; this is 550\.54"):
        require_usable(card("old_driver"), nodes=())


def test_a_torch_that_ends_before_it_has_said_anything_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    said_outside(monkeypatch, None, "Unrecognized CachingAllocator option: per_process_memory_fraction")
    with pytest.raises(Unusable, match="torch does not start: Unrecognized CachingAllocator option"):
        require_usable(card(), nodes=())


def test_a_card_that_admits_one_process_is_refused_by_its_mode() -> None:
    with pytest.raises(Unusable, match=r"compute mode that is exclusive to one process.*nvidia-smi -c 0"):
        require_usable(card("exclusive_mode"), nodes=())


def test_nodes_that_this_user_may_not_open_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = tmp_path / "nvidia0"
    if os.geteuid() != 0:
        pytest.skip("only root makes device nodes: not verified")
    os.mknod(node, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may open everything
    with pytest.raises(Unusable, match=f"may not open {node}.*group that owns"):
        require_usable(card(), nodes=(str(node),))


def test_the_cap_of_a_trial_is_tried_with_it() -> None:
    assert "per_process_memory_fraction" in usable._environment("GPU-1,GPU-2")["PYTORCH_ALLOC_CONF"]
    assert usable._environment("GPU-1,GPU-2")["CUDA_VISIBLE_DEVICES"] == "GPU-1,GPU-2"


def test_only_the_cards_of_the_study_are_tried() -> None:
    with pytest.raises(Unusable, match=r"none of the study's cards is here: GPU-elsewhere\. `swarm gpu status`"):
        require_usable(card("exclusive_mode"), only=("GPU-elsewhere",), nodes=())
