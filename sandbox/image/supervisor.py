"""What runs inside a container, as its first process: forks an interpreter per session, owns time.

Standard library only; numpy and sympy are imported once, before the forks, where they are there.
The host speaks in frames of JSON (`length, 4 bytes, big endian; body`) over a unix socket that we
connect to, or over our standard streams:

    {"op": "open", "s": 1, "seed": "<hex>"}                  start session 1
    {"op": "run", "s": 1, "n": 7, "code": …, "t": 10.0, "limit": 4000}
    {"op": "close", "s": 1}                                  -> {"s": 1, "closed": true}

and is answered with `{"s": 1, "n": 7, "status", "output", "dropped", "duration", "lost",
"notice"}`.

What we fear is the worker, which runs what a model wrote, as our own user where it is alone in the
container. So: nothing from it is parsed. Its output is one pipe of bytes, for us to drain and cut.
That a cell has ended is a frame of nine bytes on another pipe: the nonce that came with the cell,
and `o` or `e`. Any other byte there ends the interpreter. No signal reaches the first process of a
container from inside, unless it has a handler; our memory is not its to read (not dumpable); it
is the kernel's first choice when memory runs out, and it is nicer than we are. Everything that a
session has started ends by one `kill(-1)`. Where several sessions share the container, each has a
user of its own, and a Landlock domain where the kernel has it.
"""

import ast
import asyncio
import builtins
import codecs
import contextlib
import ctypes
import fcntl
import gc
import hashlib
import heapq
import importlib
import io
import json
import linecache
import os
import random
import resource
import select
import signal
import socket
import stat
import sys
import time
import traceback
import types
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

CODE_FD, CONTROL_FD, KEPT_OUTPUT_FD = 90, 91, 92
HIGH_FD = 1024  # above all that the supervisor has open
NONCE = 8
MAX_FRAME, MAX_OUTPUT, CHUNK = 4 << 20, 1 << 20, 1 << 16
TAIL = 2048
SHARED_MEMORY = "/dev/shm"
FONTS = "/opt/beam-sdg/matplotlib"
KEPT_ENVIRONMENT = ("PATH", "LANG", "LD_LIBRARY_PATH")
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
UNLIMITED_PROCESSES = 1_000_000  # a limit that counts a user's over all containers bounds nothing
_libc = ctypes.CDLL(None, use_errno=True)


# --- the worker ---------------------------------------------------------------------------------


def work() -> NoReturn:
    """Run cells as they come in, forever.

    Cells may overwrite whatever they reach: builtins, modules, our globals. So all that the loop
    needs is in locals; and where that is not enough, the interpreter ends and is started again.
    """
    os_read, os_write, os_exit, os_dup2, getpid = os.read, os.write, os._exit, os.dup2, os.getpid
    compile_, exec_, eval_, repr_, type_, str_ = compile, exec, eval, repr, type, str
    len_, isinstance_, from_bytes, system = len, isinstance, int.from_bytes, sys
    base_exception, exception, system_exit = BaseException, Exception, SystemExit
    set_signal, get_signal, sigint = signal.signal, signal.getsignal, signal.SIGINT
    raises, interrupted = signal.default_int_handler, KeyboardInterrupt
    print_exception, lines_of, brief = traceback.print_exception, linecache.cache, _brief
    expr, expression = ast.Expr, ast.Expression
    allow_await, only_ast, is_coroutine = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, ast.PyCF_ONLY_AST, 0x80
    future, future_flags = importlib.import_module("__future__"), 0
    for feature in future.all_feature_names:
        future_flags |= getattr(future, feature).compiler_flag
    new_loop, set_loop = asyncio.new_event_loop, asyncio.set_event_loop
    file_io, buffered_io, text_io = io.FileIO, io.BufferedWriter, io.TextIOWrapper
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = main
    space, flags, number = main.__dict__, 0, 0
    loop: asyncio.AbstractEventLoop | None = None
    out: io.TextIOWrapper | None = None
    err: io.TextIOWrapper | None = None
    me = getpid()
    set_signal(sigint, raises)

    def stream(fd: int) -> io.TextIOWrapper:
        raw = buffered_io(file_io(fd, "w", closefd=False))
        return text_io(raw, "utf-8", "backslashreplace", "\n", True)

    while True:
        data = b""
        while len_(data) < 12 or len_(data) < 12 + from_bytes(data[:4], "big"):
            try:
                more = os_read(90, 65536)
            except interrupted:  # it came too late for its cell
                continue
            if not more:
                os_exit(0)
            data += more
        nonce, code = data[4:12], data[12:].decode("utf-8", "surrogatepass").removeprefix("\ufeff")
        os_dup2(92, 1)
        os_dup2(92, 2)
        if out is None or out.closed:
            out = stream(1)
        if err is None or err.closed:
            err = stream(2)
        system.stdout, system.stderr = out, err
        if get_signal(sigint) is not raises:
            set_signal(sigint, raises)
        number += 1
        name = f"<cell {number}>"
        status = b"o"
        try:
            try:
                lines_of[name] = (len_(code), None, code.splitlines(True), name)
                tree = compile_(code, name, "exec", only_ast | allow_await | flags, True)
                last = None
                if tree.body and type_(tree.body[-1]) is expr:
                    last = expression(tree.body.pop().value)
                for part, run in ((tree if tree.body else None, exec_), (last, eval_)):
                    if part is None:
                        continue
                    mode = "exec" if run is exec_ else "eval"
                    compiled = compile_(part, name, mode, allow_await | flags, True)
                    flags |= compiled.co_flags & future_flags
                    value = run(compiled, space) if not compiled.co_flags & is_coroutine else None
                    if compiled.co_flags & is_coroutine:
                        if loop is None or loop.is_closed():
                            loop = new_loop()
                            set_loop(loop)
                        task = loop.create_task(eval_(compiled, space))
                        try:
                            value = loop.run_until_complete(task)
                        finally:
                            task.cancel()
                    if run is eval_ and value is not None and not code.rstrip().endswith(";"):
                        space["_"] = value
                        out.write(repr_(value) + "\n")
                value = None
            except system_exit as left:
                if isinstance_(left.code, str_):
                    err.write(f"{left.code}\n")
                    status = b"e"
            except base_exception as error:
                status = b"e"
                trace = error.__traceback__
                while trace is not None and trace.tb_frame.f_code.co_filename[:6] != "<cell ":
                    trace = trace.tb_next
                try:
                    out.flush()
                    print_exception(type_(error), error, trace, None, err)
                except exception:  # what prints tracebacks is no longer what it was
                    os_write(92, type_(error).__name__.encode() + b": " + brief(error))
                trace = None
        except base_exception:  # the interrupt came while we wrote a traceback
            status = b"e"
        if getpid() != me:  # a cell forked, and its child has come to the end of the cell
            try:
                out.flush()
            finally:
                os_exit(0)
        try:
            out.flush()
            err.flush()
        except (exception, interrupted):
            out = err = None
        os_write(91, nonce + status)


def _brief(error: BaseException, str_: Callable[[object], str] = str) -> bytes:
    try:
        return str_(error)[:500].encode("utf-8", "replace") + b"\n"
    except BaseException:
        return b"(no message)\n"


def become_worker(
    supervisor: "Supervisor",
    worker: "Worker",
    seed: bytes,
    code_r: int,
    control_w: int,
    output_w: int,
) -> None:
    """In a fresh child: let go of all that is the supervisor's, and put limits on ourselves."""
    os.dup2(supervisor.devnull, 0)
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, HIGH_FD) for fd in (code_r, control_w, output_w)]
    os.dup2(high[2], 1)
    os.dup2(high[2], 2)
    os.closerange(3, HIGH_FD)
    for fd, place in zip(high, (CODE_FD, CONTROL_FD, KEPT_OUTPUT_FD), strict=True):
        os.dup2(fd, place, inheritable=False)
        os.close(fd)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.nice(19)
    with contextlib.suppress(OSError):  # we go first, however many a bomb has made of itself
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    if (uid := worker.uid) is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        _own_domain()
    if not supervisor.contained:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.umask(0o077)
    _libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # its own /proc entries are its own again
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    for limit, most in supervisor.limits.items():
        allowed = resource.getrlimit(limit)[1]
        most = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        resource.setrlimit(limit, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (supervisor.cpu_s, supervisor.cpu_s + 1))
    with contextlib.suppress(OSError):  # it may have no room left: then it is to say so itself
        _settle(worker.home)
    number = int.from_bytes(seed, "big")
    environment = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    os.environ.clear()
    os.environ.update(environment)
    for name in ("HOME", "TMPDIR", "IPYTHONDIR"):
        os.environ[name] = worker.home
    for name in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{name}_NUM_THREADS"] = "1"
    os.environ["MPLBACKEND"] = "Agg"
    os.environ["PYTHONHASHSEED"] = str(number % 2**32)
    random.seed(number)
    if supervisor.numpy is not None:
        supervisor.numpy.random.seed(number % 2**32)
    sys.argv, sys.path[0] = [""], ""
    gc.enable()


def _settle(home: str) -> None:
    """The session's folder: made again where a cell has taken it away, and gone to."""
    if not os.path.isdir(home):
        os.mkdir(home, 0o700)
    if not os.access(home, os.W_OK | os.X_OK) and os.stat(home).st_uid == os.getuid():
        os.chmod(home, 0o700)
    os.chdir(home)
    if os.path.isdir(FONTS) and not os.path.isdir(f"{home}/.cache/matplotlib"):
        os.makedirs(f"{home}/.cache/matplotlib")
        os.makedirs(f"{home}/.config/matplotlib")
        for name in os.listdir(FONTS):
            os.symlink(f"{FONTS}/{name}", f"{home}/.cache/matplotlib/{name}")


def landlock_version() -> int:
    """The Landlock interface that this kernel has; 0 where it has none."""
    return max(0, _libc.syscall(444, None, 0, 1))


def _own_domain() -> None:
    """No signal, no abstract socket and no TCP to or from another session, where Landlock can."""
    version = landlock_version()
    if version < 4:
        return
    net, scope = 0b11, 0b11 if version >= 6 else 0
    rules = (ctypes.c_uint64 * 3)(0, net, scope)
    fd = _libc.syscall(444, ctypes.byref(rules), 24 if version >= 6 else 16, 0)
    if fd < 0 or _libc.syscall(446, fd, 0) != 0:
        raise OSError(ctypes.get_errno(), "no Landlock domain")
    os.close(fd)


# --- the supervisor -----------------------------------------------------------------------------


class Worker:
    """A session: its interpreter's process and pipes, and the cell that runs."""

    def __init__(self, session: int, seed: bytes, uid: int | None, home: str) -> None:
        self.session, self.seed, self.uid, self.home = session, seed, uid, home
        self.life, self.pid = 0, 0
        self.code_w = self.control_r = self.output_r = -1
        self.unsent = bytearray()  # of the cell's code
        self.lost = ""  # how the interpreter ended between two cells
        self.cell: int | None = None  # the number of the cell that runs
        self.nonce = b""
        self.started = self.deadline = self.limit_s = 0.0
        self.interrupted = False
        self.head, self.tail = bytearray(), bytearray()
        self.keep_head = self.keep_tail = self.total = 0

    def take(self, data: bytes) -> None:
        """Keep the head and the tail of what the cell prints."""
        self.total += len(data)
        room = self.keep_head - len(self.head)
        if room > 0:
            self.head += data[:room]
            data = data[room:]
        if data:
            self.tail += data
            if len(self.tail) > self.keep_tail + CHUNK:
                del self.tail[: -self.keep_tail]

    def shown(self) -> tuple[str, int]:
        """What is kept as one valid string, and how many bytes are not in it."""
        if self.total <= self.keep_head:
            return self.head.decode("utf-8", "replace"), 0
        tail = self.tail[-self.keep_tail :]
        if self.total <= self.keep_head + self.keep_tail:
            return (self.head + tail).decode("utf-8", "replace"), 0
        while tail and tail[0] & 0xC0 == 0x80 and len(tail) > self.keep_tail - 3:
            del tail[0]
        text, used = codecs.utf_8_decode(self.head, "replace", False)
        dropped = self.total - used - len(tail)
        end = tail.decode("utf-8", "replace")
        return f"{text}\n[{dropped} bytes not shown]\n{end}", dropped


class Supervisor:
    """The first process of the container."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.contained = os.getpid() == 1  # else we are a process among others: see LocalSandbox
        self.first_uid, self.home = settings["first_uid"], settings["home"]
        self.grace_s, self.cpu_s = settings["grace_s"], settings["cpu_s"]
        self.wakeup_r = -1
        self.limits = {resource.RLIMIT_AS: settings["memory"], resource.RLIMIT_CORE: 0}
        if self.contained:
            most = UNLIMITED_PROCESSES if self.first_uid is None else settings["processes"]
            self.limits |= {resource.RLIMIT_NPROC: most, resource.RLIMIT_FSIZE: settings["files"]}
        self.workers: dict[int, Worker] = {}
        self.by_fd: dict[int, Worker] = {}
        self.by_pid: dict[int, Worker] = {}
        self.deadlines: list[tuple[float, int, int]] = []
        self.opened = 0
        self.devnull = os.open("/dev/null", os.O_RDWR)
        self.numpy: Any = None
        if settings["socket"]:
            self.connection = socket.socket(socket.AF_UNIX)
            self.connection.connect(settings["socket"])
            self.in_fd = self.out_fd = self.connection.fileno()
        else:
            self.in_fd, self.out_fd = os.dup(0), os.dup(1)
            os.dup2(self.devnull, 0)
            os.dup2(2, 1)
        os.set_blocking(self.in_fd, False)
        os.set_blocking(self.out_fd, False)
        self.received, self.unsent = bytearray(), bytearray()
        self.epoll = select.epoll()
        self.epoll.register(self.in_fd, select.EPOLLIN)
        self.out_waits = False

    def prepare(self) -> None:
        """Guard this process, and import what most cells do."""
        _libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        if self.first_uid is not None:
            os.chmod(self.home, 0o711)
        for name in ("numpy", "sympy"):
            with contextlib.suppress(ImportError):
                module = __import__(name)
                self.numpy = module if name == "numpy" else self.numpy
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.wakeup_r, wakeup_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup_w, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # its number goes to the pipe
        self.epoll.register(self.wakeup_r, select.EPOLLIN)
        gc.collect()
        gc.freeze()
        gc.disable()
        self.send({"hello": 1, "python": sys.version.split()[0], "landlock": landlock_version()})

    def serve(self) -> NoReturn:
        """Forever; the container ends with the host's connection."""
        while True:
            wait = -1.0
            if self.deadlines:
                wait = max(0.0, self.deadlines[0][0] - time.monotonic())
            for fd, event in self.epoll.poll(wait):
                if fd == self.in_fd:
                    if event & select.EPOLLOUT:
                        self.flush()
                    if event & ~select.EPOLLOUT:
                        self.receive()
                elif fd == self.out_fd:
                    self.flush()
                elif fd == self.wakeup_r:
                    self.reap()
                elif fd in self.by_fd:
                    worker = self.by_fd[fd]
                    if fd == worker.control_r:
                        self.control(worker)
                    elif fd == worker.output_r:
                        self.drain(worker, CHUNK)
                    elif worker.unsent:  # else it is news of what had this number before
                        self.feed(worker)
            now = time.monotonic()
            while self.deadlines and self.deadlines[0][0] <= now:
                _, cell, session = heapq.heappop(self.deadlines)
                late = self.workers.get(session)
                if late is not None and late.cell == cell and late.deadline <= now:
                    self.overdue(late)

    # the host

    def send(self, message: dict[str, Any]) -> None:
        body = json.dumps(message).encode()
        frame = len(body).to_bytes(4, "big") + body
        if not self.unsent:
            try:
                sent = os.write(self.out_fd, frame)
            except BlockingIOError:
                sent = 0
            except OSError:
                os._exit(0)
            if sent == len(frame):
                return
            frame = frame[sent:]
        self.unsent += frame
        self._watch_out(True)

    def flush(self) -> None:
        try:
            while self.unsent:
                del self.unsent[: os.write(self.out_fd, self.unsent[:CHUNK])]
        except BlockingIOError:
            return
        except OSError:
            os._exit(0)
        self._watch_out(False)

    def _watch_out(self, wanted: bool) -> None:
        if wanted == self.out_waits:
            return
        self.out_waits = wanted
        if self.in_fd == self.out_fd:
            self.epoll.modify(self.in_fd, select.EPOLLIN | (select.EPOLLOUT if wanted else 0))
        elif wanted:
            self.epoll.register(self.out_fd, select.EPOLLOUT)
        else:
            self.epoll.unregister(self.out_fd)

    def receive(self) -> None:
        try:
            data = os.read(self.in_fd, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            os._exit(0)  # nobody is there any more, and all that runs here ends with us
        received = self.received
        received += data
        while len(received) >= 4:
            size = int.from_bytes(received[:4], "big")
            if size > MAX_FRAME:
                os._exit(1)
            if len(received) < 4 + size:
                return
            message = json.loads(received[4 : 4 + size])
            del received[: 4 + size]
            self.handle(message)

    def handle(self, message: dict[str, Any]) -> None:
        operation, session = message["op"], message["s"]
        if operation == "run":
            self.run(self.workers[session], message)
        elif operation == "open":
            self.open(session, bytes.fromhex(message["seed"]))
        elif operation == "close":
            self.close(self.workers.pop(session))
            self.send({"s": session, "closed": True})

    # sessions

    def open(self, session: int, seed: bytes) -> None:
        uid = None if self.first_uid is None else self.first_uid + self.opened
        home = f"{self.home}/{self.opened}"
        self.opened += 1
        os.mkdir(home, 0o700)
        if uid is not None:
            os.chown(home, uid, uid)
        worker = self.workers[session] = Worker(session, seed, uid, home)
        self.start(worker)

    def start(self, worker: Worker) -> None:
        """Fork an interpreter for a session."""
        seed = worker.seed
        if worker.life:
            seed = hashlib.sha256(seed + worker.life.to_bytes(4, "big")).digest()
        worker.life += 1
        code_r, worker.code_w = os.pipe2(os.O_CLOEXEC)
        worker.control_r, control_w = os.pipe2(os.O_CLOEXEC)
        worker.output_r, output_w = os.pipe2(os.O_CLOEXEC)
        worker.unsent = bytearray()
        for _ in range(50):
            try:
                worker.pid = os.fork()
                break
            except OSError:  # what was killed has not gone yet
                time.sleep(0.01)
                self.reap()
        else:
            os._exit(3)
        if worker.pid == 0:
            try:
                become_worker(self, worker, seed, code_r, control_w, output_w)
                work()
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(70)
        for fd in (code_r, control_w, output_w):
            os.close(fd)
        self.by_pid[worker.pid] = worker
        for fd in (worker.code_w, worker.control_r, worker.output_r):
            os.set_blocking(fd, False)
            self.by_fd[fd] = worker
        self.epoll.register(worker.control_r, select.EPOLLIN)
        self.epoll.register(worker.output_r, select.EPOLLIN)

    def end(self, worker: Worker) -> None:
        """Kill whatever the session has started, and let go of its pipes."""
        self.by_pid.pop(worker.pid, None)
        self.kill_all(worker)
        for fd in (worker.code_w, worker.control_r, worker.output_r):
            del self.by_fd[fd]
            with contextlib.suppress(OSError):
                self.epoll.unregister(fd)
            os.close(fd)

    def kill_all(self, worker: Worker) -> None:
        if not self.contained:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            return
        with self.as_user(worker.uid), contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(-1, signal.SIGKILL)

    @contextlib.contextmanager
    def as_user(self, uid: int | None) -> Iterator[None]:
        """With the rights of a session's user over its processes and files, and no more."""
        if uid is None:
            yield
            return
        os.setresuid(uid, uid, 0)  # the real one too: it would reach workers that are still root
        try:
            yield
        finally:
            os.setresuid(0, 0, 0)

    def kill_others(self, worker: Worker) -> None:
        """Kill all of a session but its interpreter: stopped first, so that none is missed."""
        known: set[int] = set()
        for _ in range(30):
            found = set(self.processes_of(worker)) - {worker.pid}
            if found <= known:
                break
            for pid in found - known:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGSTOP)
            known |= found
        for pid in known:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def processes_of(self, worker: Worker) -> Iterator[int]:
        """The processes of a session, its interpreter included."""
        for name in os.listdir("/proc"):
            if not name.isdigit() or name == "1":
                continue
            with contextlib.suppress(OSError, StopIteration):
                if not self.contained:
                    if os.getpgid(int(name)) != worker.pid:
                        continue
                elif worker.uid is not None:
                    with open(f"/proc/{name}/status") as file:
                        uids = next(line for line in file if line.startswith("Uid:")).split()
                    if int(uids[1]) != worker.uid:
                        continue
                yield int(name)

    def close(self, worker: Worker) -> None:
        self.end(worker)
        if worker.uid is None and self.contained:
            return  # the container ends with it
        with self.as_user(worker.uid), contextlib.suppress(OSError):
            remove(worker.home)
            if worker.uid is not None:
                empty_of(SHARED_MEMORY, worker.uid)
        with contextlib.suppress(OSError):
            os.rmdir(worker.home)

    def restart(self, worker: Worker, status: str, notice: str) -> None:
        """Give a session a fresh interpreter, and answer its cell, if one was running."""
        self.finish_output(worker)
        self.end(worker)
        self.start(worker)
        if worker.cell is not None:
            self.answer(worker, status, f"{notice} and was restarted: all variables are lost", True)
        else:
            worker.lost = f"before this cell, {notice} and was restarted: all variables were lost"

    # cells

    def run(self, worker: Worker, message: dict[str, Any]) -> None:
        code = message["code"].encode("utf-8", "surrogatepass")
        limit = min(message["limit"], MAX_OUTPUT)
        worker.cell, worker.nonce = message["n"], os.urandom(NONCE)
        worker.keep_tail = min(TAIL, limit // 2)
        worker.keep_head = limit - worker.keep_tail
        worker.head, worker.tail, worker.total = bytearray(), bytearray(), 0
        worker.interrupted, worker.limit_s = False, message["t"]
        worker.started = time.monotonic()
        self.expect(worker, worker.started + message["t"])
        frame = len(code).to_bytes(4, "big") + worker.nonce + code
        if worker.unsent:  # the cell before has ended without being read: see what becomes of it
            worker.unsent += frame
            return
        try:
            sent = os.write(worker.code_w, frame)
        except BlockingIOError:
            sent = 0
        except OSError:  # it is gone: its end is told by a signal
            return
        if sent < len(frame):
            worker.unsent += frame[sent:]
            self.epoll.register(worker.code_w, select.EPOLLOUT)

    def expect(self, worker: Worker, deadline: float) -> None:
        worker.deadline = deadline
        heapq.heappush(self.deadlines, (deadline, worker.cell or 0, worker.session))

    def feed(self, worker: Worker) -> None:
        """Hand the worker as much of the rest of the cell's code as its pipe takes."""
        try:
            while worker.unsent:
                del worker.unsent[: os.write(worker.code_w, worker.unsent)]
        except BlockingIOError:
            return
        except OSError:
            worker.unsent.clear()
        self.epoll.unregister(worker.code_w)

    def drain(self, worker: Worker, most: int) -> bool:
        """Read what has been printed; give whether there may be more."""
        try:
            data = os.read(worker.output_r, most)
        except BlockingIOError:
            return False
        if not data:
            with contextlib.suppress(OSError):
                self.epoll.unregister(worker.output_r)
            return False
        if worker.cell is not None:
            worker.take(data)
        return len(data) == most

    def finish_output(self, worker: Worker) -> None:
        """Read all that was in the pipe when the cell ended: at most what a pipe holds."""
        for _ in range(16):
            if not self.drain(worker, CHUNK):
                return

    def control(self, worker: Worker) -> None:
        """The worker says that its cell has ended; anything else it may say ends it."""
        try:
            data = os.read(worker.control_r, 4096)
        except BlockingIOError:
            return
        if not data:  # closed: if the interpreter is there, its next word would be a failure
            with contextlib.suppress(FileNotFoundError):
                self.epoll.unregister(worker.control_r)
            return
        if worker.cell is None or data[:-1] != worker.nonce or data[-1:] not in (b"o", b"e"):
            self.restart(worker, "died", "the interpreter broke its own protocol")
            return
        self.finish_output(worker)
        if worker.interrupted:
            self.kill_others(worker)
            notice = f"timed out after {worker.limit_s:g} s and was interrupted; variables are kept"
            self.answer(worker, "timeout", notice)
        else:
            self.answer(worker, "ok" if data[-1:] == b"o" else "error", "")

    def overdue(self, worker: Worker) -> None:
        """A deadline has passed: interrupt the cell, then kill it."""
        if not worker.interrupted:
            worker.interrupted = True
            os.kill(worker.pid, signal.SIGINT)
            self.expect(worker, worker.deadline + self.grace_s)
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGSTOP)
            notice = f"timed out after {worker.limit_s:g} s; the interpreter did not stop"
            self.restart(worker, "timeout", notice)

    def reap(self) -> None:
        """Collect what has ended; an interpreter among it is started again."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.wakeup_r, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid not in self.by_pid:
                continue
            worker = self.by_pid[pid]
            if worker.cell is not None:
                self.control(worker)  # it may have ended after its cell
                if self.by_pid.get(pid) is not worker:
                    continue
            why = os.waitstatus_to_exitcode(status)
            how = f"with exit code {why}" if why >= 0 else f"by signal {signal.Signals(-why).name}"
            if worker.interrupted and worker.cell is not None:
                notice = f"timed out after {worker.limit_s:g} s; the interpreter ended {how}"
                self.restart(worker, "timeout", notice)
            else:
                self.restart(worker, "died", f"the interpreter ended {how}")

    def answer(self, worker: Worker, status: str, notice: str, lost: bool = False) -> None:
        output, dropped = worker.shown()
        if worker.lost:
            lost, notice = True, "; ".join(filter(None, (worker.lost, notice)))
            worker.lost = ""
        message = {
            "s": worker.session, "n": worker.cell, "status": status, "output": output,
            "dropped": dropped, "duration": time.monotonic() - worker.started,
            "lost": lost, "notice": f"[{notice}]" if notice else "",
        }  # fmt: skip
        worker.cell = None
        worker.head, worker.tail = bytearray(), bytearray()
        self.send(message)


def remove(folder: str) -> None:
    """Remove all that is in a folder, however deep, following no link; all is quiet there.

    Folders are moved up before they are emptied, so that neither depth nor length of path matter.
    """
    try:
        os.chmod(folder, 0o700)
        top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    number, prefix = 0, os.urandom(8).hex()
    pending: list[str | None] = [None]
    while pending:
        name = pending.pop()
        place = top if name is None else os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=top)
        for entry in os.listdir(place):
            if not stat.S_ISDIR(os.lstat(entry, dir_fd=place).st_mode):
                os.unlink(entry, dir_fd=place)
                continue
            os.chmod(entry, 0o700, dir_fd=place)
            number += 1
            with contextlib.suppress(OSError):
                os.rename(entry, f"{prefix}-{number}", src_dir_fd=place, dst_dir_fd=top)
                pending.append(f"{prefix}-{number}")
        if name is not None:
            os.close(place)
            os.rmdir(name, dir_fd=top)
    os.close(top)


def empty_of(folder: str, uid: int) -> None:
    """Remove what a user has left in a folder that all share."""
    for entry in os.listdir(folder):
        path = f"{folder}/{entry}"
        with contextlib.suppress(OSError):
            if os.lstat(path).st_uid != uid:
                continue
            if os.path.isdir(path) and not os.path.islink(path):
                remove(path)
                os.rmdir(path)
            else:
                os.unlink(path)


def main() -> None:
    """Serve the host whose settings are our one argument."""
    try:
        supervisor = Supervisor(json.loads(sys.argv[1]))
        supervisor.prepare()
        supervisor.serve()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
