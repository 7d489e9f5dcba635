"""Runs the filter's program as the kernel runs it, for any architecture, so that nothing depends on the machine."""

from swarm.sandbox import calls, seccomp
from swarm.sandbox.calls import Needs

ALLOW, REFUSE, PRETEND, ABSENT, KILL = 0x7FFF0000, 0x50001, 0x50000, 0x50026, 0x80000000


def answer(machine: str, needs: Needs, number: int, *arguments: int, audit: int | None = None) -> int:
    """What the filter answers to this call, as the kernel would work it out."""
    words = {seccomp._OFFSET_NUMBER: number, seccomp._OFFSET_ARCH: audit or calls.AUDIT_ARCH[machine]}
    words |= {seccomp._OFFSET_ARGUMENTS + 8 * place: value & 0xFFFFFFFF for place, value in enumerate(arguments)}
    program, accumulator, at = seccomp.assemble(machine, needs), 0, 0
    while True:
        step = program[at]
        at += 1
        if step.code == seccomp._RETURN:
            return int(step.k)
        if step.code == seccomp._LOAD:
            accumulator = words.get(step.k, 0)
        elif step.code == seccomp._AND:
            accumulator &= step.k
        else:
            jumps = accumulator == step.k if step.code == seccomp._IF_EQUAL else accumulator >= step.k
            at += step.jt if jumps else step.jf
