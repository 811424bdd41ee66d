"""Files over http: what a server says is told, whose fault it is, and what is never asked of any."""

import base64
import gzip
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from served import Answer, Server, raw, served

import motionecho.runs.web
from motionecho.errors import BadSample, NotThere, Transient, Unreachable
from motionecho.runs import faults, files
from motionecho.runs.files import fetch, version_of
from motionecho.runs.places import Place
from motionecho.runs.web import refuse
from tests.patience import patience

LOGIN = "Basic " + base64.b64encode(b"me:long word").decode()
TO = {
    "near": "/fine.mp4",
    "file": "file:///etc/passwd",
    "number": "http://169.254.169.254/latest/meta-data",
    "decimal": "http://2852039166/latest",
    "mapped": "http://[::ffff:169.254.169.254]/latest",
    "name": "http://inward.example/latest",
    "round": "/to/round",
}


def answer(method: str, path: str, login: str | None) -> Answer:
    what, _, rest = path.partition("?")[0].strip("/").partition("/")
    if what.isdigit():
        return int(what), {"Retry-After": "7"} if what == "429" else {}, b"no"
    if what == "to":
        return 302, {"Location": TO[rest]}, b""
    if what == "login":
        return (200 if login == LOGIN else 401), {}, b"clip"
    if what == "signed":
        return (200 if method == "GET" and path.endswith("&Signature=a%2Fb%2Bc%3D") else 403), {}, b"clip"
    if what == "long":
        return 200, {"Content-Length": str(10**13)}, b""
    if what == "unsaid":
        return 200, {"Transfer-Encoding": "chunked"}, b"0" * 5000
    if what == "packed":
        return 200, {"Content-Encoding": "gzip"}, gzip.compress(b"0" * 5000)
    return 200, {"ETag": '"one"', "Last-Modified": "then"}, b"clip"


@pytest.fixture(scope="module")
def web() -> Iterator[Server]:
    with served(answer) as server:
        yield server


def read(place: str) -> bytes:
    with fetch(place, patience_s=0) as path:
        return Path(path).read_bytes()


def refusal(place: str) -> BadSample | Unreachable:
    """The one error that a place gives, whether it is looked at or fetched."""
    told = []
    for act in (lambda: version_of(place, patience_s=0), lambda: read(place)):
        with pytest.raises((BadSample, Unreachable)) as problem:
            act()
        told.append(problem.value)
    assert (type(told[0]), str(told[0])) == (type(told[1]), str(told[1]))
    return told[1]


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (204, "is empty: its server has nothing to send (status 204)"),
        (300, "leads to no file (status 300)"),
        (302, "leads to no file (status 302)"),
        (304, "leads to no file (status 304)"),
        (400, "is refused (status 400)"),
        (401, "asks for a login (status 401)"),
        (
            403,
            "is forbidden: a signature may have expired, or this machine lacks the credentials (status 403)",
        ),
        (410, "is gone: its server says that it had it once (status 410)"),
        (429, "cannot be had now: its server asks to wait (status 429, in 7 s)"),
        (451, "is refused (status 451)"),
        (500, "cannot be had now: its server fails (status 500)"),
        (503, "cannot be had now: its server fails (status 503)"),
    ],
)  # fmt: skip
def test_what_cannot_be_had_now_is_not_its_row_s_fault(web: Server, status: int, said: str) -> None:
    problem = refusal(f"{web.url}/{status}/a.mp4?id=1&sig=word")
    assert isinstance(problem, Unreachable)
    assert str(problem) == f'"{web.url}/{status}/a.mp4?id=1&***" {said}'
    assert problem.passing == (status in (429, 500, 503)), "only of these waiting may have helped"


def test_what_is_not_there_is_the_row_s(web: Server) -> None:
    problem = refusal(f"{web.url}/404/a.mp4")
    assert isinstance(problem, NotThere)
    assert str(problem) == f'"{web.url}/404/a.mp4" does not exist'


def test_where_nobody_is_is_told(web: Server) -> None:
    with socket.socket() as free:  # bound, not listening
        free.bind(("127.0.0.1", 0))
        problem = refusal(f"http://me:word@127.0.0.1:{free.getsockname()[1]}/a.mp4")
    assert re.fullmatch(
        r'"http://\*\*\*@127.*" cannot be reached: nobody answers at its address', str(problem)
    )
    problem = refusal("http://nowhere.invalid/a.mp4")
    assert str(problem).endswith("cannot be reached: the name of its host is not known here")


def test_logins_and_signatures_open_files_to_the_letter(web: Server) -> None:
    assert read(Place(f"http://me:long%20word@{web.host}/login/a.mp4")) == b"clip"
    assert isinstance(refusal(Place(f"http://me:other@{web.host}/login/a.mp4")), Unreachable)
    signed = Place(f"{web.url}/signed/a.mp4?X-Amz-Expires={'9' * 300}&Signature=a%2Fb%2Bc%3D")
    assert read(signed) == b"clip", "a name as long as a signature is no name of a file here"
    assert version_of(signed) == "", "HEAD is not signed, and GET says nothing but a size"
    with fetch(signed) as path:
        assert Path(path).name == "a.mp4"
    assert version_of(f"{web.url}/fine.mp4") == "one-then-4"


@pytest.mark.parametrize("what", ["long", "unsaid", "packed"])
def test_no_more_is_fetched_than_a_file_may_have(
    web: Server, what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(files, "LARGEST", 1000)
    if what == "packed":  # kept as it comes: what is packed is not unpacked
        assert gzip.decompress(read(f"{web.url}/packed/a")) == b"0" * 5000
    else:
        with pytest.raises(BadSample, match="GiB, which is not fetched: cut it, or"):
            read(f"{web.url}/{what}/a")
    assert list(tmp_path.iterdir()) == []


def test_a_redirect_is_followed_to_what_is_opened(web: Server) -> None:
    assert read(f"{web.url}/to/near") == b"clip"
    problem = refusal(f"{web.url}/to/file")
    assert isinstance(problem, BadSample)
    assert str(problem) == f'"{web.url}/to/file" leads to "file:///etc/passwd", which is not opened'
    problem = refusal(f"{web.url}/to/round")
    assert isinstance(problem, Unreachable)
    assert str(problem) == f'"{web.url}/to/round" leads round in a circle'


@pytest.mark.parametrize("to", ["number", "decimal", "mapped", "name"])
def test_no_server_leads_to_the_machine_s_own_services(
    web: Server, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def resolve(host: Any, *args: Any, **kwargs: Any) -> Any:
        return real("169.254.169.254" if host == "inward.example" else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    for place in (f"{web.url}/to/{to}", TO[to]):
        problem = refusal(place)
        assert isinstance(problem, BadSample)
        assert "169.254.169.254" in str(problem)
        assert "within this machine's own network: it is not asked" in str(problem)


@pytest.mark.parametrize(
    "address",
    ["169.254.170.2", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200",
     "168.63.129.16", "192.0.0.192", "::ffff:a9fe:a9fe", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1",
     "::169.254.169.254", "64:ff9b:1::a9fe:a9fe", "64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:a9:fe:a9fe::",
     "64:ff9b:1:0:a9:fea9:fe00:0", "2001:0:808:808::5601:5601", "fe80::5efe:a9fe:a9fe",
     "2001:db8::5efe:a9fe:a9fe",
     "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "169.254.169.254."],
)  # fmt: skip
def test_own_addresses_are_known_in_every_spelling(address: str) -> None:
    with pytest.raises(faults.OwnNetwork, match=re.escape(address)):
        refuse(address, address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "8.8.8.8",
        "::1",
        "::",
        "2001:db8::1",
        "64:ff9b::808:808",
        "64:ff9b:1::808:808",
        "::ffff:8.8.8.8",
        "host.example",
    ],
)
def test_others_are_asked(address: str) -> None:
    refuse(address, address)


def drip(connection: socket.socket, text: bytes) -> None:
    """Send a letter every so often, without end."""
    with suppress(OSError):
        connection.sendall(text)
        while True:
            time.sleep(0.02)
            connection.sendall(b"x")


REPLIES: dict[str, Callable[[socket.socket], object]] = {
    "silent": lambda connection: connection.recv(1),  # until whoever asked goes away
    "letters for a head": lambda connection: drip(connection, b"HTTP/1.1 200 OK\r\nX-A: "),
    "letters for a body": lambda connection: drip(
        connection, b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n"
    ),
    "no http": lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
}
SAID = {
    "silent": "cannot be had now: no answer in time",
    "letters for a head": "cannot be had now: no answer in time",
    "letters for a body": r"cannot be had now: it comes at \d+ bytes a second",
    "no http": "cannot be read: what its server sends is no HTTP",
}


@pytest.mark.parametrize("reply", REPLIES)
def test_no_server_holds_anyone_up(reply: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is asked once and given up within the time that is meant, tries included."""
    monkeypatch.setattr(motionecho.runs.web, "ANSWER_S", 0.4)
    monkeypatch.setattr(files, "SLOW_AFTER_S", 0.4)
    with raw(REPLIES[reply]) as server:
        began = time.monotonic()
        with pytest.raises(Unreachable, match=SAID[reply]), fetch(f"{server.url}/a.mp4", patience_s=0.2):
            pass
        assert time.monotonic() - began < patience(20)
        assert len(server.asked) == 1


def test_the_time_of_tries_counts_as_waiting() -> None:
    now, tries = [0.0], []

    def slow() -> None:
        now[0] += 30.0
        tries.append(now[0])
        raise OSError("hung")

    def nap(seconds: float) -> None:
        now[0] += seconds

    with pytest.raises(Transient, match="for 30 s"):
        files.patiently(slow, 20.0, nap, clock=lambda: now[0])
    assert tries == [30.0]


def test_a_server_that_asks_to_wait_is_waited_for_as_long_as_it_says() -> None:
    class Busy(Exception):
        status = 429

        def __init__(self, after: str) -> None:
            self.headers = {"Retry-After": after}

    for after, least in (("40", 40), (formatdate(time.time() + 30, usegmt=True), 28)):
        naps: list[float] = []
        left = iter([Busy(after)])

        def act(left: Iterator[Busy] = left) -> str:
            for problem in left:
                raise problem
            return "done"

        assert files.patiently(act, 60, naps.append) == "done"
        assert least <= naps[0] <= 41
    with pytest.raises(Unreachable, match="asks to wait"):
        files.patiently(
            lambda: (_ for _ in ()).throw(Busy("90")), 60, naps.append, lambda p: faults.fault_of("a", p)
        )
    assert len(naps) == 1, "no wait longer than patience is begun"
