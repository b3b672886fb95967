"""Python processes that do not wait for the libraries: each is forked from one that has imported them, which all tests share.

`Forked` is what `subprocess.Popen` of this Python is otherwise; `run` waits for its end. Where another
program starts the process, as torchrun does, `CLIENT` is its command line: a small process that stands for the forked one.
It hands signals on, ends as that one ends, and takes it along where it is killed.

There are two such servers. `bare` forks from one that has imported what others wrote, but not MMCV, MMDetection,
MMSegmentation and this package, for tests of how these are imported.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import os
import pickle
import runpy
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent
CLIENT = [sys.executable, '-S', '-E', str(TESTS / 'forked.py')]
TORCHRUN = ['-c', 'from torch.distributed.run import main; main()']
PLACE = 'CONVNEXT_DENSE_TESTS_FORKED'  # in the environment: the folder of the servers' sockets
OTHERS = """torch torchvision torch.distributed.run torch.testing torch.utils.cpp_extension cv2 matplotlib.pyplot pandas
scipy.stats shapely sklearn.metrics transformers timm pycocotools.coco faster_coco_eval ftfy prettytable terminaltables
mmengine.runner"""
OWN = """convnext_dense_cli convnext_dense.commands.train convnext_dense.commands.test convnext_dense.commands.predict
convnext_dense.segmentation.shapes_dataset mmdet.engine mmdet.visualization mmseg.engine mmseg.visualization"""
HANDED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
PATIENCE = 300  # seconds


class Forked:
    """A forked process that runs a script with its arguments, `-c CODE`, or `call`, a function and its arguments."""

    def __init__(
        self,
        argv: Sequence[str] = (),
        stdout: int = 1,
        stderr: int = 2,
        env: dict[str, str] | None = None,
        cwd: str | Path | None = None,
        bare: bool = False,
        call: Sequence[Any] = (),
    ) -> None:
        self.args, self.returncode, self._text = list(argv), None, b''
        request = dict(argv=self.args, env=dict(os.environ if env is None else env), cwd=str(cwd or os.getcwd()))
        if call:
            request |= dict(call=pickle.dumps(call), path=sys.path)
        content = pickle.dumps(request)
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(f'{place()}/{"bare" if bare else "full"}')
        socket.send_fds(self._server, [struct.pack('!I', len(content))], [stdout, stderr])
        self._server.sendall(content)
        self.pid = int(self._line(None) or 0)

    def _line(self, end: float | None) -> bytes | None:
        """The next line of the server; None where there is none until then."""
        while b'\n' not in self._text:
            self._server.settimeout(None if end is None else max(end - time.monotonic(), 1e-3))
            try:
                new = self._server.recv(64)
            except TimeoutError:
                return None
            if not new:
                raise ConnectionError('the process from which others are forked has ended')
            self._text += new
        line, _, self._text = self._text.partition(b'\n')
        return line

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            line = self._line(None if timeout is None else time.monotonic() + timeout)
            if line is None:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(line)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            self._server.sendall(bytes([number]))

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(argv: Sequence[str], timeout: float = PATIENCE, **more: Any) -> subprocess.CompletedProcess:
    """A forked process to its end, with what it wrote."""
    with tempfile.TemporaryFile('w+') as out, tempfile.TemporaryFile('w+') as err:
        process = Forked(argv, out.fileno(), err.fileno(), **more)
        try:
            process.wait(timeout)
        finally:
            process.kill()
        texts = [(stream.seek(0), stream.read())[1] for stream in (out, err)]
    return subprocess.CompletedProcess(process.args, process.returncode, *texts)


def place() -> str:
    """The folder of the servers' sockets; they are started where they are not there. All processes of pytest share them."""
    if PLACE in os.environ:
        return os.environ[PLACE]
    owner = os.getppid() if 'PYTEST_XDIST_WORKER' in os.environ else os.getpid()
    folder = Path(tempfile.gettempdir(), f'forked_{owner}_{begun(owner)}')
    folder.mkdir(exist_ok=True)
    with open(folder / 'lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / 'full').exists():
            command = [sys.executable, str(TESTS / 'forked.py'), '--serve', str(folder), str(owner)]
            env = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(TESTS / 'unformatted')}
            with open(folder / 'log', 'w') as log:
                streams = dict(stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                server = subprocess.Popen(command, **streams, env=env, start_new_session=True)  # Ctrl-C is not for it
            while not (folder / 'full').exists():
                assert server.poll() is None, (folder / 'log').read_text()
                time.sleep(0.02)
    os.environ[PLACE] = str(folder)
    return str(folder)


def begun(pid: int) -> str:
    """When a process began, where that is known: another run of the tests may have had its number."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[19]
    except OSError:
        return ''


def serve(folder: Path, owner: int) -> None:
    """Both servers, as long as the process `owner` lives."""
    sys.path.pop(0)  # of this file
    path = list(sys.path)
    for name in OTHERS.split():
        import_module(name)
    child = os.fork()
    name = 'bare' if child else 'full'
    if not child:
        sys.path.insert(0, str(TESTS.parent))
        for own in OWN.split():
            import_module(own)
        sys.path[:] = path
    gc.collect()
    gc.freeze()  # as tests/conftest.py
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / f'{name}.new'))
    listener.listen(64)
    if not child:  # a client waits for the second of the two
        while not (folder / 'bare').exists():
            time.sleep(0.01)
    os.rename(folder / f'{name}.new', folder / name)
    try:
        Server(listener).loop(owner)
    finally:
        if child:
            shutil.rmtree(folder, ignore_errors=True)


class Server:
    """Forks a process for each connection, tells its number and its end, and hands signals on."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener, self.clients = listener, {}
        self.ended, wake = os.pipe()
        self.own = [listener.fileno(), self.ended, wake]
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.selector = selectors.DefaultSelector()
        for one in (listener, self.ended):
            self.selector.register(one, selectors.EVENT_READ)

    def loop(self, owner: int) -> None:
        while alive(owner):
            for key, _ in self.selector.select(1):
                if key.fileobj is self.listener:
                    self.start(self.listener.accept()[0])
                elif key.fileobj == self.ended:
                    os.read(self.ended, 1000)
                    self.tell()
                elif key.data in self.clients:
                    self.hand_on(key.data)

    def start(self, client: socket.socket) -> None:
        head, streams, _, _ = socket.recv_fds(client, 4, 2)
        with client.makefile('rb') as file:
            request = pickle.loads(file.read(struct.unpack('!I', head)[0]))
        pid = os.fork()
        if not pid:
            others = [one.fileno() for one in self.clients.values() if one]
            for one in [*self.own, *others, self.selector.fileno(), client.fileno()]:
                os.close(one)
            child(request, streams)
        for one in streams:
            os.close(one)
        self.clients[pid] = client
        self.selector.register(client, selectors.EVENT_READ, pid)
        with contextlib.suppress(OSError):
            client.sendall(b'%d\n' % pid)

    def tell(self) -> None:
        """Clients are told of the end of their processes."""
        while self.clients:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            client = self.clients.pop(pid, None)
            if client:
                self.selector.unregister(client)
                with contextlib.suppress(OSError), client:
                    client.sendall(b'%d\n' % os.waitstatus_to_exitcode(status))

    def hand_on(self, pid: int) -> None:
        """A client's signals; its process is killed where it is gone."""
        client = self.clients[pid]
        try:
            numbers = client.recv(64)
        except OSError:
            numbers = b''
        for number in numbers or [signal.SIGKILL]:
            os.kill(pid, number)
        if not numbers:
            self.selector.unregister(client)
            client.close()
            self.clients[pid] = None


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def child(request: dict[str, Any], streams: Sequence[int]) -> None:
    """What the forked process does, to its end."""
    code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, stream in zip((1, 2), streams, strict=True):
            os.dup2(stream, number)
            os.close(stream)
        os.environ.clear()
        os.environ.update(request['env'])
        os.chdir(request['cwd'])
        if 'numpy' in sys.modules:  # `random` sees to itself
            sys.modules['numpy'].random.seed()
        work(request)
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if not isinstance(stop.code, int | None):
            print(stop.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            threading._shutdown()
            atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code)


def work(request: dict[str, Any]) -> None:
    argv = request['argv']
    if 'call' in request:
        sys.path[:] = request['path']
        function, *args = pickle.loads(request['call'])
        return function(*args)
    code = argv[0] == '-c'
    given = [one for one in request['env'].get('PYTHONPATH', '').split(os.pathsep) if one]
    sys.path[:0] = ['' if code else str(Path(argv[0]).resolve().parent), *given]
    sys.argv = ['-c', *argv[2:]] if code else argv
    if code:
        main = sys.modules['__main__'] = type(sys)('__main__')
        exec(compile(argv[1], '<string>', 'exec'), vars(main))
    else:
        runpy.run_path(argv[0], run_name='__main__')


def stand_for(argv: list[str]) -> None:
    """Be the client of a process that is forked with these arguments."""
    process = Forked(argv)
    for number in HANDED_ON:
        signal.signal(number, lambda given, _: process.send_signal(given))
    code = process.wait()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == '__main__':
    if sys.argv[1] == '--serve':
        serve(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        stand_for(sys.argv[1:])
