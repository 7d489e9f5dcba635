"""A whole small study with one planted gain, and the certificate of what it kept: real git, real trainings."""

import json
import signal
import time
from pathlib import Path

import pytest
from fakes.tiny_study import make_tiny_study, stopped_at_the_end, write_script

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]


def test_what_is_kept_is_certified_once(tmp_path: Path) -> None:
    tiny = make_tiny_study(tmp_path)
    script = write_script(tmp_path / "s.jsonl", {"description": "a larger step", "constants": {"MAX_LR": 0.5}})
    done = tiny.up("--workers", "1", "--trials", "8", "--proposer", f"scripted:{script}")
    assert done.returncode == 0, done.stderr
    early = tiny.swarm("certify")
    assert early.returncode == 2 and "swarm finals" in early.stderr, early.stderr
    finals = tiny.swarm("finals", "--workers", "1")
    assert finals.returncode == 0, finals.stderr
    brain = tiny.brain.read_bytes()
    audit_file = tiny.root / "swarm_brain_audit.jsonl"
    process = tiny.spawn("certify", "--seeds", "3")
    with stopped_at_the_end(process):
        deadline = time.monotonic() + 120
        while not audit_file.exists() or audit_file.read_text().count("certificate_run") < 2:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert tiny.held_leases() == [] and tiny.processes() == []
    begun = audit_file.read_text()
    told = tiny.swarm("certify", "--json", timeout=500)
    assert "going on with certificate 1" in told.stderr and audit_file.read_text().startswith(begun)
    print(told.stdout, told.stderr)
    assert told.returncode == 0, told.stderr
    (one,) = json.loads(told.stdout)["programs"]
    assert one["validation"]["low"] > 0 and one["test"]["low"] > 0
    assert abs(one["lost"]) < 0.5 * one["validation"]["gain"]
    assert tiny.brain.read_bytes() == brain
    audit = [json.loads(line) for line in audit_file.read_text().splitlines()]
    assert [line["kind"] for line in audit] == ["certificate_begun", *["certificate_run"] * 12, "certificate"]
    assert not list((tiny.root / ".swarm" / "trials").rglob("*certificate*"))
    second = tiny.swarm("certify", "--seeds", "3")
    assert second.returncode == 2 and "--again" in second.stderr, second.stderr
