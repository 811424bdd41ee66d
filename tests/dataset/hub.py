"""A stand-in for the hub on loopback: one repository of a data set, as the hub's own client asks for it."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

NAME = "someone/name"
API, RESOLVE = f"/api/datasets/{NAME}", f"/datasets/{NAME}/resolve/"


class Repository:
    """The files of a repository, and how often they were committed."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {".gitattributes": b"of a repository that is new"}
        self.commits = 0

    def entries(self, paths: Iterator[str] | list[str]) -> list[dict[str, Any]]:
        found = [
            {"type": "file", "path": p, "size": len(self.files[p]), "oid": _sha1(self.files[p])}
            for p in paths
            if p in self.files
        ]
        folders = [p for p in paths if any(name.startswith(f"{p}/") for name in self.files)]
        return found + [{"type": "directory", "path": p, "oid": "0" * 40} for p in folders]

    def tree(self, folder: str, deep: bool) -> list[dict[str, Any]]:
        below = [name for name in sorted(self.files) if name.startswith(folder)]
        inner = {folder + name[len(folder) :].split("/")[0] for name in below}
        return self.entries(sorted({*below, *inner}) if deep else sorted(inner))

    def commit(self, lines: list[bytes]) -> None:
        for each in map(json.loads, lines):
            value = each["value"]
            if each["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif each["key"] == "deletedFile":
                del self.files[value["path"]]
        self.commits += 1


@contextmanager
def hub() -> Iterator[tuple[Repository, str]]:
    """Give a repository and the endpoint at which it is to be found."""
    repository = Repository()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *about: Any) -> None:
            """Say nothing."""

        def answer(self, body: Any, code: int = 200, headers: Mapping[str, str] = {}) -> None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(code)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def missing(self, what: str) -> None:
            self.answer({"error": what}, 404, {"X-Error-Code": what})

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            path, revision = unquote(url.path), _sha1(str(repository.commits).encode())
            if path.startswith(f"{API}/tree/"):
                folder = path[len(f"{API}/tree/") :].partition("/")[2].strip("/")
                deep = parse_qs(url.query).get("recursive", ["false"])[0].lower() == "true"
                self.answer(repository.tree(f"{folder}/" if folder else "", deep))
            elif path == API or path.startswith(f"{API}/revision/"):
                files = [{"rfilename": name} for name in repository.files]
                self.answer({"id": NAME, "sha": revision, "tags": [], "siblings": files})
            elif path.startswith(RESOLVE):
                data = repository.files.get(path[len(RESOLVE) :].partition("/")[2])
                if data is None:
                    self.missing("EntryNotFound")
                    return
                headers = {"ETag": f'"{_sha1(data)}"', "X-Repo-Commit": revision}
                start, _, end = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
                part = data[int(start) : int(end) + 1 if end else len(data)]
                headers["Content-Range"] = f"bytes {start}-{int(start) + len(part) - 1}/{len(data)}"
                self.answer(part, 206 if "Range" in self.headers else 200, headers)
            else:
                self.missing("RepoNotFound")

        def do_POST(self) -> None:
            path, data = urlsplit(self.path).path, self.rfile.read(int(self.headers["Content-Length"]))
            if path == "/api/validate-yaml":
                self.answer({"errors": [], "warnings": []})
            elif path.startswith(f"{API}/paths-info/"):
                is_json = data.startswith(b"{")
                asked = json.loads(data)["paths"] if is_json else parse_qs(data.decode()).get("paths", [])
                self.answer(repository.entries(asked))
            elif path.startswith(f"{API}/preupload/"):
                files = [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
                         for each in json.loads(data)["files"]]  # fmt: skip
                self.answer({"files": files})
            elif path.startswith(f"{API}/commit/"):
                repository.commit(data.splitlines())
                self.answer({"commitUrl": f"{endpoint}/datasets/{NAME}/commit/0", "commitOid": "0" * 40})
            else:
                self.missing("RepoNotFound")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield repository, endpoint
    finally:
        server.shutdown()
        server.server_close()


def _sha1(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()
