r"""The child process of `symbolic.py`: math-verify, asked over pipes.

It is run as a file, not as a module, so that nothing of ours is imported: it would take seconds.
What comes in, on standard input, and goes out are frames: four bytes of length, then JSON.

    in   {"limit_s": 5.0, "memory_bytes": 1073741824, "parent": 4711}      once
    out  {"ready": true} or {"fault": "No module named 'math_verify'"}   once
    in   {"a": "\\sqrt{4}", "b": "x=2"}
    out  {"equal": true}

It ends by itself at the end of its input, when its parent is gone, when a comparison has taken
`limit_s` of its processor time (killed by SIGPROF, whatever it is at), and with `OUT_OF_MEMORY`.
"""

import json
import os
import resource
import signal
import sys
import threading
import time
from typing import Any, BinaryIO

OUT_OF_MEMORY = 3
WATCH_EVERY_S = 0.5


def read_frame(file: BinaryIO) -> Any:
    """The next frame, or None at the end of the input."""
    head = file.read(4)
    body = file.read(int.from_bytes(head, "big"))
    return json.loads(body) if len(head) == 4 else None


def write_frame(file: BinaryIO, message: dict[str, Any]) -> None:
    """Send a frame."""
    body = json.dumps(message).encode()
    file.write(len(body).to_bytes(4, "big") + body)
    file.flush()


def watch(parent: int) -> None:
    """End this process soon after its parent has ended, even where another holds its pipes."""
    while os.getppid() == parent:
        time.sleep(WATCH_EVERY_S)
    os._exit(0)


def equal(a: str, b: str) -> bool:
    """Whether math-verify takes either text for the other; what it cannot read equals nothing."""
    import sympy
    from math_verify import LatexExtractionConfig, parse, verify

    sympy.core.random.seed(0)  # the same verdict, whatever was asked before
    config = [LatexExtractionConfig()]
    try:
        left, right = (
            parse(f"${text}$", config, fallback_mode="no_fallback", parsing_timeout=None)
            for text in (a, b)
        )
        ways = [(left, right)]
        if not all(isinstance(value, sympy.Expr) for value in left + right):
            ways.append((right, left))  # of relations and sets, verify tells gold from target
        return any(verify(gold, target, timeout_seconds=None) for gold, target in ways)
    except MemoryError:
        raise
    except Exception:  # of a text that somebody's model wrote, in three libraries
        return False


def main() -> None:
    """Answer until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for the parent
    requests, answers = os.fdopen(0, "rb", closefd=False), os.fdopen(os.dup(1), "wb")
    settings = read_frame(requests)
    if settings is None:
        return
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (1, 2):
        os.dup2(silence, descriptor)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (settings["memory_bytes"],) * 2)
    threading.Thread(target=watch, args=(settings["parent"],), daemon=True).start()
    try:
        equal("x+1", "1+x")  # all is loaded before the first comparison is timed
    except ImportError as error:
        write_frame(answers, {"fault": str(error)})
        return
    write_frame(answers, {"ready": True})
    while (request := read_frame(requests)) is not None:
        signal.setitimer(signal.ITIMER_PROF, settings["limit_s"])
        try:
            is_equal = equal(request["a"], request["b"])
        except MemoryError:
            os._exit(OUT_OF_MEMORY)
        signal.setitimer(signal.ITIMER_PROF, 0)
        write_frame(answers, {"equal": is_equal})


if __name__ == "__main__":
    sys.setrecursionlimit(3000)
    main()
