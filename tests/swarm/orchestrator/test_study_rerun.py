"""A recorded trial is run again: an honest record reproduces, a forged one does not."""

import json
from pathlib import Path

import pytest
from fakes.tiny_study import TinyStudy, make_tiny_study, write_script

from swarm.brain import verify
from swarm.brain.lines import GENESIS, line_sha256

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]


def forge(brain: Path, trial_id: str, loss: float) -> None:
    """Another loss for this trial, with a chain that holds."""
    lines, before = [], GENESIS
    for text in brain.read_text().splitlines():
        fields = json.loads(text)
        if fields["kind"] == "trial_finished" and fields["trial_id"] == trial_id:
            fields["validation_loss"] = fields["score"]["validation_loss"] = loss
        line = json.dumps({**fields, "prev": before}).encode()
        before = line_sha256(line)
        lines.append(line)
    brain.write_bytes(b"\n".join(lines) + b"\n")
    assert verify(brain).ok


def test_an_honest_record_reproduces_and_a_forged_one_does_not(tmp_path: Path) -> None:
    tiny: TinyStudy = make_tiny_study(tmp_path)
    script = write_script(tmp_path / "s.jsonl", {"description": "a larger step", "constants": {"MAX_LR": 0.5}})
    done = tiny.up("--workers", "1", "--trials", "6", "--proposer", f"scripted:{script}")
    assert done.returncode == 0, done.stderr
    lines = tiny.brain.read_bytes()
    good = tiny.swarm("verify", "--rerun", "6")
    assert good.returncode == 0 and "t0006 reproduces" in good.stdout, good.stdout + good.stderr
    print(good.stdout)
    assert tiny.brain.read_bytes() == lines, "a rerun is no research record"
    forge(tiny.brain, "t0006", (tiny.study().trials["t0006"].cost or 0.0) - 1.0)
    bad = tiny.swarm("verify", "--rerun", "t0006", "--json")
    print(bad.stdout)
    assert bad.returncode == 1, bad.stdout + bad.stderr
    told = json.loads(bad.stdout)
    assert told["finding"] == "differs" and told["again"] - told["recorded"] > 0.9
    audit = [json.loads(line) for line in (tiny.root / "swarm_brain_audit.jsonl").read_text().splitlines()]
    assert [one["finding"] for one in audit] == ["identical", "differs"]
    assert not list((tiny.root / ".swarm" / "trials").rglob("*rerun*"))
    missing = tiny.swarm("verify", "--rerun", "t0099")
    assert missing.returncode == 2 and "no such trial" in missing.stderr
