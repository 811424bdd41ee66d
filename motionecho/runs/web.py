"""Files over http(s): every answer is told apart, and none is asked of the machine's own network.

A table that others wrote may name any URL, and a server may send one on to any other: what answers at
link-local addresses are the machine's own services, which hand out its credentials.
"""

import asyncio
import ipaddress
import re
import socket
from typing import Any

import aiohttp
import yarl
from aiohttp.abc import ResolveResult
from fsspec.implementations.http import HTTPFileSystem

from motionecho.runs.faults import OwnNetwork

NEVER = [ipaddress.ip_network(each) for each in (
    "169.254.0.0/16", "fe80::/10",  # link-local, with most metadata services
    "fd00:ec2::/32", "fd20:ce::/32", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32",  # the others
)]  # fmt: skip
# Addresses that a translator turns into one of version 4, which stands at one of several places in them.
TRANSLATED = [ipaddress.ip_network(each) for each in ("::/96", "64:ff9b::/96", "64:ff9b:1::/48")]
PATIENCE = aiohttp.ClientTimeout(total=1800, sock_connect=20, sock_read=60)
ANSWER_S = 30.0  # until a server has said what it will send
SENT = (200, 203, 206)
VALID = re.compile(r"[!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]*")


class Web(HTTPFileSystem):
    """A file system of URLs."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"get_client": _session} | options)

    def encode_url(self, url: str) -> yarl.URL:
        """Leave a URL that is one as it is: a signature is of its very letters."""
        return yarl.URL(url, encoded=VALID.fullmatch(url) is not None)

    async def _info(self, url: str, **kwargs: Any) -> dict[str, Any]:
        """Return size and marks of a file; raises what the server says where fsspec says "not found".

        A signature may be good for GET alone, so that no answer to HEAD is the last word.
        """
        session = await self.set_session()
        for ask in (session.head, session.get):
            async with ask(self.encode_url(url), allow_redirects=True, **self.kwargs, **kwargs) as answer:
                size = answer.headers.get("Content-Length", "")
                if answer.status in SENT and (size.isdigit() or ask == session.get):
                    break
        self._raise_not_found_for_status(answer, url)
        plain = answer.headers.get("Content-Encoding", "identity") == "identity"
        marks = {name: answer.headers[name] for name in ("ETag", "Last-Modified") if name in answer.headers}
        length = int(size) if size.isdigit() and plain else None
        return {"name": url, "type": "file", "size": length, **marks}

    def _raise_not_found_for_status(self, response: aiohttp.ClientResponse, url: str) -> None:
        super()._raise_not_found_for_status(response, url)
        if response.status not in SENT:  # of its 200s and 300s, those that come without the file
            raise aiohttp.ClientResponseError(
                response.request_info, response.history, status=response.status, headers=response.headers
            )


async def _session(**options: Any) -> aiohttp.ClientSession:
    """Make a client; what a server sends is kept as it comes, as what is packed has no bound."""
    ours: dict[str, Any] = {
        "connector": aiohttp.TCPConnector(resolver=_Resolver()),
        "middlewares": (_by_number,),
        "timeout": PATIENCE,
        "auto_decompress": False,
    }
    headers = {"Accept-Encoding": "identity"} | dict(options.pop("headers", {}))
    return aiohttp.ClientSession(**ours | options, headers=headers)


class _Resolver(aiohttp.ThreadedResolver):
    """A resolver of names to the addresses that are then connected to, none of them forbidden."""

    async def resolve(self, host: str, *args: Any, **kwargs: Any) -> list[ResolveResult]:
        found = await super().resolve(host, *args, **kwargs)
        for each in found:
            refuse(host, each["host"])
        return found


async def _by_number(request: aiohttp.ClientRequest, send: Any) -> aiohttp.ClientResponse:
    """Look at the host of each request, of redirected ones too: a number is not resolved.

    A server that sends a letter every so often does not hold anyone up: its answer has to begin in time.
    """
    refuse(request.url.host or "", request.url.host or "")
    answer: aiohttp.ClientResponse = await asyncio.wait_for(send(request), ANSWER_S)
    return answer


def refuse(host: str, address: str) -> None:
    """Raise OwnNetwork where an address, if it is one in any spelling, is never asked."""
    try:
        number = ipaddress.ip_address(address)
    except ValueError:
        try:
            number = ipaddress.ip_address(socket.inet_aton(address.rstrip(".")))  # 0xa9fea9fe, 2852039166
        except (OSError, ValueError):
            return
    for each in (number, *_within(number)):
        if any(each in network for network in NEVER):
            raise OwnNetwork(host if host == str(each) else f"{host} ({each})")


def _within(number: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """List the addresses of version 4 that one may stand for (RFC 3056, 4291, 4380, 5214, 6052)."""
    if isinstance(number, ipaddress.IPv4Address):
        return []
    found = [number.ipv4_mapped, number.sixtofour, *(number.teredo or ())]
    data = number.packed
    isatap = data[8:12] in (b"\0\0\x5e\xfe", b"\2\0\x5e\xfe")
    if isatap or any(number in network for network in TRANSLATED):
        places = (data[12:], data[6:8] + data[9:11], data[7:8] + data[9:12], data[9:13])
        found += [ipaddress.IPv4Address(place) for place in places]
    return [each for each in found if each is not None]
