"""A site of `--to web` on this computer alone, with the headers that browsers ask for before they give several threads."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from convnext_dense.errors import InputError
from convnext_dense.export.web import is_site

HOST, PORT = '127.0.0.1', 8000
HEADERS = {
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Embedder-Policy': 'require-corp',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'X-Content-Type-Options': 'nosniff',
    'Cache-Control': 'no-cache',  # asked for again, and sent only where it is newer
}
TYPES = {
    '.html': 'text/html; charset=utf-8',
    '.js': 'text/javascript',
    '.mjs': 'text/javascript',
    '.css': 'text/css',
    '.json': 'application/json',
    '.svg': 'image/svg+xml',
    '.wasm': 'application/wasm',
    '.onnx': 'application/octet-stream',
}


class Handler(SimpleHTTPRequestHandler):
    """Files of a folder; no listings, and no line for each request."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | TYPES
    added = HEADERS

    def end_headers(self) -> None:
        for name, value in self.added.items():
            self.send_header(name, value)
        super().end_headers()

    def list_directory(self, path: str | os.PathLike[str]) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a browser may go away in the middle of a file
            super().handle_error(request, client_address)


def make_server(folder: str, port: int = PORT, handler: type[Handler] = Handler) -> Server:
    """Bound to the port, not yet serving; port 0 takes a free one.

    Raises:
        InputError: for a folder that is no site, and a port that cannot be had.
    """
    if not is_site(folder):
        what = 'which is not there' if not Path(folder).exists() else 'which is none'
        raise InputError(f'--serve: expected a site, got {folder}, {what}; make one with --to web --out {folder}')
    if not 0 <= port <= 65535:
        raise InputError(f'--port: expected a number from 0 to 65535, got {port}')
    try:
        return Server((HOST, port), partial(handler, directory=os.path.abspath(folder)))
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        why = 'in use' if error.errno == errno.EADDRINUSE else 'not allowed to this user'
        raise InputError(f'--port: expected a free port, got {port}, which is {why}; name another with --port N') from error


def serve(folder: str, port: int = PORT, say: Callable[[str], None] = print) -> None:
    """Serve a site until Ctrl-C, which ends it quietly."""
    with make_server(folder, port) as server:
        say(f'http://{HOST}:{server.server_address[1]}/ shows {folder}; Ctrl-C ends it')
        with suppress(KeyboardInterrupt):
            server.serve_forever()
