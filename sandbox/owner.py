"""Whose a container is, and whether that process still lives: what is swept, and what is not."""

import os
import socket
from pathlib import Path


def this_process() -> str:
    """This process as a label: where it runs, its id, and when it started."""
    return f"{_place()}/{os.getpid()}/{_started(os.getpid())}"


def has_ended(owner: str) -> bool:
    """Whether a label's process is known to be gone; False where this machine cannot know."""
    try:
        place, pid, started = owner.rsplit("/", 2)
        return place == _place() and _started(int(pid)) != started
    except ValueError:
        return False


def _place() -> str:
    """Where process ids mean what they mean here: this boot of this machine, these processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return f"{socket.gethostname()}/0"


def _started(pid: int) -> str:
    """When a process started, in ticks since the boot; "" of one that is not there, or is dead."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if state in "ZX" else fields[18]
    except OSError:
        return ""
