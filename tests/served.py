"""An http server on loopback that answers as a test says, and remembers what it was asked."""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, Mapping[str, str], bytes]


@dataclass
class Server:
    """`host` is its address with the port, `asked` the method, path and Authorization of every request."""

    host: str
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.host}"


@contextmanager
def served(answer: Callable[[str, str, str | None], Answer]) -> Iterator[Server]:
    """Serve `answer(method, path, authorization)`; a body is chunked where it names no Content-Length."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = (self.command, self.path, self.headers.get("Authorization"))
            server.asked.append(asked)
            status, headers, body = answer(*asked)
            chunked = headers.get("Transfer-Encoding") == "chunked"
            self.send_response(status)
            for name, value in ({} if chunked else {"Content-Length": str(len(body))} | {**headers}).items():
                self.send_header(name, value)
            if chunked:
                self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            if self.command != "HEAD" and status not in (204, 304):  # which have no body
                try:
                    self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body)
                except OSError:
                    self.close_connection = True  # who asked has had enough

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None: ...

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = Server(f"127.0.0.1:{listening.server_port}")
    threading.Thread(target=listening.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()


@contextmanager
def raw(reply: Callable[[socket.socket], object]) -> Iterator[Server]:
    """Serve whatever `reply` sends to a connection, once it has asked; that need not be http."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = Server(f"127.0.0.1:{listening.getsockname()[1]}")

    def one(connection: socket.socket) -> None:
        with connection:
            if connection.recv(65536):
                server.asked.append(("", "", None))
                reply(connection)

    def serve() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=one, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield server
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
