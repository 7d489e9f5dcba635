"""A seccomp filter in classic BPF, assembled here from the list of calls that a training may make."""

import ctypes
import errno

from swarm.sandbox import calls
from swarm.sandbox.calls import Needs, Rule
from swarm.sandbox.libc import PR_SET_NO_NEW_PRIVS, prctl, syscall

_SYSCALL = {"x86_64": 317, "aarch64": 277}
_SET_MODE_FILTER, _GET_ACTION_AVAIL = 1, 2
_FILTER_FLAG_TSYNC = 1

_RET_KILL_PROCESS, _RET_ERRNO, _RET_ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_REFUSE = _RET_ERRNO | errno.EPERM
_ABSENT = _RET_ERRNO | errno.ENOSYS
_PRETEND = _RET_ERRNO  # errno 0: the caller sees success
_X32_BIT = 0x40000000

_LOAD, _RETURN, _AND = 0x20, 0x06, 0x54  # BPF_LD|BPF_W|BPF_ABS, BPF_RET|BPF_K, BPF_ALU|BPF_AND|BPF_K
_IF_EQUAL, _IF_AT_LEAST = 0x15, 0x35  # BPF_JMP|BPF_K with JEQ, JGE
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_ARGUMENTS = 0, 4, 16  # in struct seccomp_data; both machines are little-endian


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction)))


class _Word(ctypes.Structure):
    _fields_ = (("value", ctypes.c_uint32),)


def available() -> bool:
    """Whether this kernel and this architecture take the filter."""
    number = _SYSCALL.get(calls.machine())
    if number is None:
        return False
    try:
        syscall(number, _GET_ACTION_AVAIL, 0, _Word(_RET_ERRNO))
    except OSError:
        return False
    return True


def restrict(needs: Needs) -> None:
    """Installs the filter for all threads of this process and all its descendants, for good. Raises OSError."""
    architecture = calls.machine()
    instructions = assemble(architecture, needs)
    array = (_Instruction * len(instructions))(*instructions)
    program = _Program(len(instructions), array)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    unsynchronised = syscall(_SYSCALL[architecture], _SET_MODE_FILTER, _FILTER_FLAG_TSYNC, program)
    if unsynchronised:
        raise OSError(errno.EAGAIN, f"thread {unsynchronised} could not be put under the seccomp filter")


def assemble(architecture: str, needs: Needs) -> list[_Instruction]:
    """The filter: another architecture's calls kill, x32's are refused, listed ones pass, the rest is refused."""
    program = [
        _Instruction(_LOAD, 0, 0, _OFFSET_ARCH),
        _Instruction(_IF_EQUAL, 1, 0, calls.AUDIT_ARCH[architecture]),
        _Instruction(_RETURN, 0, 0, _RET_KILL_PROCESS),
        _Instruction(_LOAD, 0, 0, _OFFSET_NUMBER),
    ]
    if architecture == "x86_64":
        program += [_Instruction(_IF_AT_LEAST, 0, 1, _X32_BIT), _Instruction(_RETURN, 0, 0, _REFUSE)]
    program += [_Instruction(_IF_AT_LEAST, 0, 1, calls.NEWEST), _Instruction(_RETURN, 0, 0, _ABSENT)]
    for rule in calls.rules(architecture, needs):
        program += _conditional(rule)
    program += [_Instruction(_IF_EQUAL, 0, 1, calls.CLONE3), _Instruction(_RETURN, 0, 0, _ABSENT)]
    for number in calls.allowed(architecture, needs):
        program += [_Instruction(_IF_EQUAL, 0, 1, number), _Instruction(_RETURN, 0, 0, _RET_ALLOW)]
    return [*program, _Instruction(_RETURN, 0, 0, _REFUSE)]


def _conditional(rule: Rule) -> list[_Instruction]:
    """Decides the call for good, so the call's number need not be loaded again."""
    inside, outside = {
        "allow": (_RET_ALLOW, _REFUSE),
        "refuse": (_REFUSE, _RET_ALLOW),
        "pretend": (_PRETEND, _RET_ALLOW),
    }[rule.inside]
    body = []
    if rule.zero is not None:
        body += [_Instruction(_LOAD, 0, 0, _OFFSET_ARGUMENTS + 8 * rule.zero), _Instruction(_IF_EQUAL, 1, 0, 0)]
        body.append(_Instruction(_RETURN, 0, 0, _REFUSE))
    body += [_Instruction(_LOAD, 0, 0, _OFFSET_ARGUMENTS + 8 * rule.argument), _Instruction(_AND, 0, 0, rule.mask)]
    for value in rule.values:
        body += [_Instruction(_IF_EQUAL, 0, 1, value), _Instruction(_RETURN, 0, 0, inside)]
    body.append(_Instruction(_RETURN, 0, 0, outside))
    return [_Instruction(_IF_EQUAL, 0, len(body), rule.number), *body]
