"""The plan, and its first two parts: checks of the machine, and the targets by their harness."""

import json
import re
from collections.abc import Mapping, Sequence

from evening_run import Evening, Figures, Said, Step, StepFailed, Value
from evening_studies import study_steps

TARGETS = ("resnext", "efficientnet")
EXPECTED_COMPILED = 1.25
_LINE = re.compile(r"^([a-z_0-9M]+): (.+)$", re.MULTILINE | re.IGNORECASE)
_NUMBERS = ("images_per_s", "training_seconds", "total_seconds", "peak_vram_mb", "num_steps", "validation_loss")


def planned(evening: Evening) -> list[Step]:
    ways = ("eager", "compiled") if evening.device == "cuda" else ("eager",)
    pairs = TARGETS if not (evening.short and evening.device == "cpu") else TARGETS[:1]
    runs = [_harness_step(target, way, count=1) for target in TARGETS for way in ways]
    runs += [_harness_step(target, way, count=2) for target in pairs for way in ways]
    checks = [
        Step("doctor", 90, _doctor),
        Step("gpu selftest", 240, _selftest),
        Step("tests marked gpu", 300, _tests),
    ]
    return [*checks, *runs, *study_steps(evening)]


def chosen(steps: list[Step], words: Sequence[str]) -> list[Step]:
    """All of them, or those whose names contain one of `words`, in the order of `words`. Raises ValueError."""
    for word in words:
        if not any(word in step.name for step in steps):
            raise ValueError(f"no step's name contains {word!r}: {', '.join(step.name for step in steps)}")
    found = [step for word in words for step in steps if word in step.name]
    return list(dict.fromkeys(found)) if words else steps


def name_of(target: str, way: str, count: int) -> str:
    return f"{target}, {way}, {'alone' if count == 1 else 'beside itself'}"


def _doctor(evening: Evening) -> Figures:
    said = evening.command(["-m", "swarm", "doctor", "--json"], log="doctor")
    findings = json.loads(_json_line(said))["findings"]
    bad = [f"{one['check']}: {one['detail']}" for one in findings if one["verdict"] == "fail"]
    if said.code != 0 or bad:
        raise StepFailed("; ".join(bad) or said.text[-500:])
    return {one["check"]: f"{one['verdict']}: {one['detail']}"[:300] for one in findings}


def _selftest(evening: Evening) -> Figures:
    """On a machine without a card it says of each check that it is not proven, which is no failure."""
    said = evening.command(["-m", "swarm", "gpu", "selftest", "--json"], log="selftest")
    report = json.loads(_json_line(said))
    figures: Figures = {"verified_on": report["verified_on"]}
    for check in report["checks"]:
        figures[check["name"]] = f"{check['value']} {check['unit']} {check['detail']}".strip()[:300]
    if not report["passed"]:
        failed = [check for check in report["checks"] if check["passed"] is False]
        raise StepFailed("; ".join(f"{check['name']}: {check['value']} {check['detail']}" for check in failed))
    return figures


def _tests(evening: Evening) -> Figures:
    said = evening.command(["-m", "pytest", "-n", "0", "-m", "gpu", "-rs", "--timeout", "280", "tests"], log="tests")
    summary = said.text.strip().splitlines()[-1] if said.text.strip() else ""
    if said.code not in (0, 5):
        raise StepFailed(said.text[-1500:])
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|skipped|failed)", summary)}
    return {"summary": summary[:200], **{word: counts.get(word, 0) for word in ("passed", "skipped")}}


def _harness_step(target: str, way: str, count: int) -> Step:
    return Step(name_of(target, way, count), 240, lambda evening: _harness(evening, target, way, count))


def _harness(evening: Evening, target: str, way: str, count: int) -> Figures:
    """`count` trainings at once; images a second of all of them, and what the first one said."""
    if evening.device == "cpu":
        budget, kind = ("8" if evening.short else "60"), "seconds"
    else:  # images: a compilation is on no such budget, and both ways train the same
        budget, kind = ("100000" if evening.short else "500000"), "samples"
    profile = "gpu" if evening.device == "cuda" else "cpu"
    command = ["-m", "swarm.harness.run", f"models/{target}", "--profile", profile, "--dataset", "standin"]
    command += ["--budget", budget, "--budget-kind", kind, "--set", f"COMPILE={way == 'compiled'}"]
    said = evening.commands([[*command, "--seed", str(seed + 1)] for seed in range(count)], log=target)
    if any(one.code != 0 for one in said):
        raise StepFailed(next(one.text for one in said if one.code != 0)[-1500:])
    logs = [_log_of(one) for one in said]
    rates = [float(log["images_per_s"]) for log in logs]
    figures: Figures = {"budget": f"{budget} {kind}", "images_per_s_together": round(sum(rates), 1)}
    figures |= {name: _number(logs[0].get(name)) for name in _NUMBERS}
    return {**figures, "compilation": logs[0].get("compilation"), "whole_process_s": round(said[0].seconds, 1)}


def _log_of(said: Said) -> Mapping[str, str]:
    log = {match[1]: match[2].strip() for match in _LINE.finditer(said.text)}
    if "images_per_s" not in log:
        raise StepFailed(f"no images_per_s in the log: {said.text[-500:]}")
    return log


def _number(text: str | None) -> Value:
    return None if text is None else float(text)


def _json_line(said: Said) -> str:
    """The line with the JSON object; others may be around it."""
    lines = [line for line in said.text.splitlines() if line.startswith("{")]
    if not lines:
        raise StepFailed(said.text[-1000:] or f"exit code {said.code} without a word")
    return lines[-1]
