"""One orchestrator a repository, and how `swarm stop` reaches it."""

import shutil
from pathlib import Path

import pytest

from swarm.errors import SwarmError
from swarm.orchestrator.control import (
    Control,
    holder,
    only_orchestrator,
    orchestrator_runs,
    read_control,
    write_control,
)
from swarm.study.settings import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(root=tmp_path)


def test_a_second_orchestrator_is_refused_with_the_first_ones_name(layout: Layout) -> None:
    with only_orchestrator(layout) as reign:
        with pytest.raises(SwarmError, match=r"running in .* already \(another process\)"), only_orchestrator(layout):
            pass
        reign.announce("a-study")
        with pytest.raises(SwarmError, match=r"\(pid \d+, study a-study\)"), only_orchestrator(layout):
            pass


def test_whether_one_runs_can_be_seen_and_leaves_no_trace(layout: Layout) -> None:
    assert not orchestrator_runs(layout) and holder(layout) is None
    assert not layout.runtime.exists()
    with only_orchestrator(layout) as reign:
        reign.announce("a-study")
        assert orchestrator_runs(layout)
        found = holder(layout)
        assert found is not None and found.study_id == "a-study"
    assert not orchestrator_runs(layout) and holder(layout) is None


def test_the_lock_is_free_again_after_an_error(layout: Layout) -> None:
    with pytest.raises(ValueError, match="something"), only_orchestrator(layout):
        raise ValueError("something")
    assert not orchestrator_runs(layout)


def test_a_full_disk_keeps_nobody_from_stopping(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    write_control(layout, "s", Control.RUN)

    def no_new_file(path: Path, *_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", no_new_file)
    for wish in (Control.DRAIN, Control.NOW, Control.RUN):
        write_control(layout, "s", wish)
        assert read_control(layout, "s") is wish


def test_a_lock_whose_file_was_deleted_is_taken_again(layout: Layout) -> None:
    with only_orchestrator(layout) as reign:
        reign.announce("a-study")
        shutil.rmtree(layout.runtime)
        assert not orchestrator_runs(layout)
        reign.renew()
        assert orchestrator_runs(layout)
        found = holder(layout)
        assert found is not None and found.study_id == "a-study"
        assert (layout.runtime / ".gitignore").read_text() == "*\n"
    assert not orchestrator_runs(layout)


def test_another_orchestrator_that_was_quicker_is_named(layout: Layout) -> None:
    with only_orchestrator(layout) as reign:
        shutil.rmtree(layout.runtime)
        with only_orchestrator(layout) as other:
            other.announce("the-other")
            with pytest.raises(SwarmError, match="study the-other"):
                reign.renew()
            reign.end()
            assert orchestrator_runs(layout) and holder(layout) is not None


def test_a_damaged_record_is_no_holder(layout: Layout) -> None:
    layout.runtime.mkdir()
    layout.orchestrator_record.write_text("{")
    assert holder(layout) is None


def test_a_wish_is_read_by_others_and_nonsense_means_go_on(layout: Layout) -> None:
    assert read_control(layout, "s") is Control.RUN
    for wish in Control:
        write_control(layout, "s", wish)
        assert read_control(layout, "s") is wish
    layout.control("s").write_text("perhaps")
    assert read_control(layout, "s") is Control.RUN
