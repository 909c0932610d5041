"""A process of its own and a deadline for every check.

A file system that hangs holds whoever looks at it in the kernel, where no signal reaches it: a
thread would keep the whole command. A process is left behind there, and ends by itself when the
file system answers. All checks run at the same time.
"""

import json
import os
import selectors
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NoReturn

from gridfsmount.addresses import redact
from gridfsmount.cli.doctor.findings import NEXT, Finding, Look, Verdict, problem
from gridfsmount.errors import LakeError

_PIECE: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Check:
    """One look, which may have several findings."""

    name: str
    """For the finding that something does not answer."""
    look: Look
    seconds: float
    """For each finding."""
    what: str
    """What is looked at, until a finding says what is next."""
    mend: str = ""
    """What to do when something does not answer."""


@dataclass(slots=True)
class _Running:
    check: Check
    pid: int
    pipe: int
    deadline: float
    said: bytes = b""
    findings: list[Finding] = field(default_factory=list)

    @property
    def next(self) -> str:
        """What is looked at now."""
        told = (each.facts[NEXT] for each in reversed(self.findings) if NEXT in each.facts)
        return next(told, self.check.what)


def ask(checks: Sequence[Check]) -> list[Finding]:
    """The findings of all checks, in their order.

    Must be called while this process has one thread and no connections.
    """
    running = [_start(each) for each in checks]
    with selectors.DefaultSelector() as selector:
        for each in running:
            selector.register(each.pipe, selectors.EVENT_READ, each)
        while selector.get_map():
            soonest = min(key.data.deadline for key in selector.get_map().values())
            for key, _ in selector.select(max(0.0, soonest - time.monotonic())):
                _listen(key.data)
            for key in list(selector.get_map().values()):
                task: _Running = key.data
                if task.pid == 0 or _is_late(task):
                    selector.unregister(task.pipe)
                    os.close(task.pipe)
    return [finding for each in running for finding in each.findings]


def _is_late(task: _Running) -> bool:
    if time.monotonic() < task.deadline:
        return False
    os.kill(task.pid, signal.SIGKILL)
    text = f"{task.next} does not answer within {task.check.seconds:.0f} s"
    task.findings.append(problem(task.check.name, text, task.check.mend))
    return True


def _listen(task: _Running) -> None:
    """Take what a check says now; its `pid` is 0 once it has said all."""
    piece = os.read(task.pipe, _PIECE)
    task.said += piece
    *lines, task.said = task.said.split(b"\n")
    for line in lines:
        check, verdict, text, mend, facts = json.loads(line)
        task.findings.append(Finding(check, Verdict(verdict), text, mend, facts))
        task.deadline = time.monotonic() + task.check.seconds
    if not piece:
        os.waitpid(task.pid, 0)
        task.pid = 0


def _start(check: Check) -> _Running:
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _look(check, writing)
    os.close(writing)
    return _Running(check, pid, reading, time.monotonic() + check.seconds)


def _look(check: Check, writing: int) -> NoReturn:
    try:
        with suppress(BrokenPipeError):
            for finding in _findings(check):
                fields = [
                    finding.check,
                    finding.verdict.value,
                    redact(finding.text),
                    redact(finding.mend),
                    dict(finding.facts),
                ]
                os.write(writing, json.dumps(fields).encode() + b"\n")
    finally:
        os._exit(0)


def _findings(check: Check) -> Iterator[Finding]:
    try:
        yield from check.look()
    except LakeError as error:
        yield problem(check.name, str(error))
    except OSError as error:
        yield problem(check.name, f"cannot be looked at: {error}")
    except Exception as error:
        yield problem(
            check.name, f"the check failed: {type(error).__name__}: {error}", "please report this"
        )
