"""When to look again: file system events where there are some, polling where there are none."""

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from swarm.clock import Clock
from swarm.errors import UsageError

_QUIET_S = 0.2  # a burst of appends is one change
_AT_MOST_S = 0.5
_POLL_WITHOUT_EVENTS_S = 1.0
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "gpfs", "glusterfs", "beegfs"}
_SHARED_WITH_HOST = {"virtiofs", "vboxsf", "prl_fs"}
_WITHOUT_EVENTS = _NETWORK | _SHARED_WITH_HOST | {"fuse", "fuseblk"}
"""File systems on which another machine's writes, or the host's, cause no inotify event here."""


def pulses(path: Path, clock: Clock, *, timeout_s: float | None, poll_s: float) -> Iterator[None]:
    """Yields whenever `path` may have changed; ends after `timeout_s`."""
    rang = threading.Event()
    deadline = None if timeout_s is None else clock.monotonic() + timeout_s
    with ExitStack() as cleanup:
        has_events = sends_events(path) and _ring_on_events(path, rang, cleanup)
        interval_s = poll_s if has_events else min(poll_s, _POLL_WITHOUT_EVENTS_S)
        while True:
            left_s = None if deadline is None else deadline - clock.monotonic()
            if left_s is not None and left_s <= 0:
                return
            if rang.wait(interval_s if left_s is None else min(interval_s, left_s)):
                _let_settle(rang, clock)
            yield


def sends_events(path: Path) -> bool:
    """SWARM_WATCH=inotify|poll, else by the file system of `path`. Raises UsageError for another value."""
    match os.environ.get("SWARM_WATCH", "auto"):
        case "inotify":
            return True
        case "poll":
            return False
        case "auto":
            return filesystem_of(path).split(".")[0] not in _WITHOUT_EVENTS
        case other:
            raise UsageError(f"SWARM_WATCH={other} is not one of auto, inotify, poll")


def filesystem_of(path: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> str:
    """The type of the file system that holds `path` (ext4, overlay, nfs4, fuse.sshfs); empty when it is not known."""
    try:
        text = mountinfo.read_text()
    except OSError:
        return ""
    best, kind = "", ""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        mount = before.split(" ")[4].encode().decode("unicode_escape")
        if len(mount) >= len(best) and path.is_relative_to(mount):
            best, kind = mount, after.split(" ")[0]
    return kind


def _ring_on_events(path: Path, rang: threading.Event, cleanup: ExitStack) -> bool:
    """Watch the folder, not the file: it also tells of a file that is born, deleted or exchanged."""
    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers import Observer

    class Bell(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            if event.event_type in {"modified", "created", "deleted", "moved"} and str(path) in {
                os.fsdecode(event.src_path),
                os.fsdecode(event.dest_path),
            }:
                rang.set()

    observer = Observer()
    observer.schedule(Bell(), str(path.parent), recursive=False)
    try:
        observer.start()
    except OSError:  # the user's inotify watches are used up
        return False
    cleanup.callback(observer.join)
    cleanup.callback(observer.stop)
    return True


def _let_settle(rang: threading.Event, clock: Clock) -> None:
    end = clock.monotonic() + _AT_MOST_S
    rang.clear()
    while rang.wait(_QUIET_S) and clock.monotonic() < end:
        rang.clear()
    rang.clear()
