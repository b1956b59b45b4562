"""An engine that answers nothing but that it is well, and does what engines do wrong.

    python fake_engine.py PORT NAME NOTES '{"load_s": 1}'

It writes a line to the file NOTES when it starts, and when it ends in good order.

load_s: how long it takes until it listens.
crash_s: so long after that it ends with code 3.
ends_s: how long it takes to end when it is told to.
child: whether it starts a process that ignores that, called child-of-NAME.
hangs: while this file exists, it answers nothing; it removes it at its start.
"""

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

CHILD = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)"

port, name, notes, options = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), sys.argv[4]
does = {"load_s": 0.0, "crash_s": 0.0, "ends_s": 0.0, "child": False, "hangs": ""}
does.update(json.loads(options))


def note(word: str) -> None:
    with notes.open("a") as file:
        file.write(f"{word} {name} {os.environ.get('CUDA_VISIBLE_DEVICES', '')}".strip() + "\n")


def end(*_: object) -> None:
    time.sleep(does["ends_s"])
    note("ended")
    os._exit(0)


class Health(http.server.BaseHTTPRequestHandler):
    """Well, unless it hangs."""

    def do_GET(self) -> None:
        while does["hangs"] and Path(does["hangs"]).exists():
            time.sleep(0.1)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


signal.signal(signal.SIGTERM, end)
note("started")
if does["hangs"]:
    Path(does["hangs"]).unlink(missing_ok=True)
if does["child"]:
    subprocess.Popen([sys.executable, "-c", CHILD, f"child-of-{name}"])
time.sleep(does["load_s"])
if does["crash_s"]:
    threading.Timer(does["crash_s"], os._exit, [3]).start()
http.server.ThreadingHTTPServer(("127.0.0.1", port), Health).serve_forever()
