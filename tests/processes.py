"""What runs below a process, and what of an engine is left."""

import contextlib
import signal
import time
from pathlib import Path


def heed_interrupts() -> None:
    """For a new process: what was started in the background ignores Ctrl-C, and so do its own."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def processes_below(pid: int) -> set[int]:
    """A process and all that it and its children have started."""
    found = {pid}
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it has just ended
            for child in path.read_text().split():
                found |= processes_below(int(child))
    return found


def called(pid: int) -> str:
    """A process's command line; "" of one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def keeper_in(folder: Path) -> int:
    """The keeper of the one engine whose socket is in a folder for temporary files."""
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    [found] = [pid for pid in pids if f"transforms.engines.keeper {folder}/" in called(pid)]
    return found


def assert_gone(pids: set[int], folder: Path) -> None:
    """The processes end within a minute, and leave the engine's log and lock alone in `folder`."""
    give_up_at = time.monotonic() + 60
    while any(called(pid) for pid in pids):
        assert time.monotonic() < give_up_at, [called(pid) for pid in pids]
        time.sleep(0.2)
    left = {path.name for path in folder.glob("beam-sdg-*/*")}
    assert left <= {"lock", "gpus-all.log"}
