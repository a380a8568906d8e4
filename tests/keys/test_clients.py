"""The default client, httpx's and httpx2's, each against real servers: what is bounded, and what is not followed."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import httpx2
import pytest

from authz_middleware import ConfigurationError, TrustedIssuer
from authz_middleware._jose import ALGORITHMS
from authz_middleware.keys import ClientFetch, Fetch, Fetched, FetchFailed, HTTPXFetch, RemoteJWKS, as_fetch, is_client
from authz_middleware.keys.fetch import MAX_BYTES, fetch_document

from .helpers import OLD, in_loop, json_response, jwks
from .servers import (
    Authority,
    Behaviour,
    answering,
    drip_the_body,
    drip_the_head,
    hang,
    hang_in_the_body,
    http,
    serving,
)
from .virtual import in_virtual_time, passed

Opened = Callable[..., AbstractAsyncContextManager[Fetch]]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return iter(())


DEFAULT = as_fetch(None)
TLS = httpx.create_ssl_context()
"""What clients make by themselves, made once: it takes a while."""


@asynccontextmanager
async def default(**options: Any) -> AsyncIterator[Fetch]:
    yield DEFAULT


@asynccontextmanager
async def of_httpx(**options: Any) -> AsyncIterator[Fetch]:
    async with httpx.AsyncClient(**{"verify": TLS, **options}) as client:
        yield as_fetch(client)


@asynccontextmanager
async def of_httpx2(**options: Any) -> AsyncIterator[Fetch]:
    async with httpx2.AsyncClient(**{"verify": TLS, **options}) as client:
        yield as_fetch(client)


@asynccontextmanager
async def of_ones_own(**options: Any) -> AsyncIterator[Fetch]:
    """As an application writes it that knows nothing of limits."""

    async def own(url: str, headers: Any) -> Fetched:
        async with httpx2.AsyncClient(verify=TLS) as client:
            response = await client.get(url, headers=headers)
            return Fetched(response.status_code, dict(response.headers), response.content)

    yield as_fetch(own)


EVERY = pytest.mark.parametrize("opened", [default, of_httpx, of_httpx2])
CLIENTS = pytest.mark.parametrize("opened", [of_httpx, of_httpx2])


async def failure(fetch: Fetch, url: str) -> str:
    """Return how the fetch failed, or fail because it did not."""
    with pytest.raises(FetchFailed) as failed:
        await fetch_document(fetch, url, {})
    return failed.value.kind


# --- what is fetched --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opened", [default, of_httpx, of_httpx2, of_ones_own])
@in_loop
async def test_a_document_is_fetched(opened: Opened) -> None:
    response = http("200 OK", b'{"keys": []}', "ETag: W/one", "CACHE-CONTROL: max-age=60")
    async with serving(answering(response)) as server, opened() as fetch:
        fetched = await fetch_document(fetch, server.url, {"If-None-Match": "zero"})
    assert (fetched.status, fetched.body) == (200, b'{"keys": []}')
    assert (fetched.headers["etag"], fetched.headers["cache-control"]) == ("W/one", "max-age=60")
    (request,) = server.requests
    lines = request.lower().splitlines()
    assert lines[0] == "get /jwks.json http/1.1"
    assert "accept: application/json" in lines
    assert "if-none-match: zero" in lines


@EVERY
@in_loop
async def test_no_compression_is_asked_for(opened: Opened) -> None:
    async with serving(answering(http("200 OK", b"{}"))) as server, opened() as fetch:
        await fetch_document(fetch, server.url, {})
    codings = [line for line in server.requests[0].lower().splitlines() if line.startswith("accept-encoding")]
    assert codings == ["accept-encoding: identity"]


@EVERY
@in_loop
async def test_a_client_is_used_again_and_not_closed(opened: Opened) -> None:
    async with serving(answering(http("200 OK", b"{}"))) as server, opened() as fetch:
        responses = [await fetch_document(fetch, server.url, {}) for _ in range(3)]
    assert [response.body for response in responses] == [b"{}"] * 3


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
@EVERY
@in_loop
async def test_a_redirect_is_not_followed_even_by_a_client_that_follows(opened: Opened, status: str) -> None:
    async with (
        serving(answering(http("200 OK", b"{}"))) as elsewhere,
        serving(answering(http(status, b"", f"Location: {elsewhere.url}"))) as server,
        opened(follow_redirects=True) as fetch,
    ):
        assert await failure(fetch, server.url) == "status"
    assert (len(server.requests), len(elsewhere.requests)) == (1, 0)


# --- sizes ------------------------------------------------------------------------------------------------------------


@EVERY
@in_loop
async def test_a_body_of_exactly_the_limit_is_read(opened: Opened) -> None:
    async with serving(answering(http("200 OK", b" " * MAX_BYTES))) as server, opened() as fetch:
        assert len((await fetch_document(fetch, server.url, {})).body) == MAX_BYTES == 512 * 1024


@EVERY
@in_loop
async def test_a_body_one_byte_over_the_limit_is_refused(opened: Opened) -> None:
    async with serving(answering(http("200 OK", b" " * (MAX_BYTES + 1)))) as server, opened() as fetch:
        assert await failure(fetch, server.url) == "too_large"


@EVERY
@pytest.mark.parametrize("coding", ["identity", "gzip"])
@in_loop
async def test_a_body_without_end_is_cut_off_while_it_is_read(opened: Opened, coding: str) -> None:
    cut_off = asyncio.Event()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        folding = zlib.compressobj(level=0, wbits=zlib.MAX_WBITS | 16)
        try:
            while True:
                data = b" " * 0x10000
                data = data if coding == "identity" else folding.compress(data) + folding.flush(zlib.Z_SYNC_FLUSH)
                writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                await writer.drain()
        except ConnectionError:
            cut_off.set()

    async with serving(endless) as server, opened() as fetch:
        assert await failure(fetch, server.url) == "too_large"
        await cut_off.wait()


# --- compressed bodies ------------------------------------------------------------------------------------------------

FOLD: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZIP": gzip.compress,
    "deflate": zlib.compress,
}


@EVERY
@pytest.mark.parametrize("coding", FOLD)
@in_loop
async def test_a_compressed_body_is_unfolded(opened: Opened, coding: str) -> None:
    response = http("200 OK", FOLD[coding](b'{"keys": []}'), f"Content-Encoding: {coding}")
    async with serving(answering(response)) as server, opened() as fetch:
        assert (await fetch_document(fetch, server.url, {})).body == b'{"keys": []}'


@EVERY
@pytest.mark.parametrize("coding", FOLD)
@pytest.mark.parametrize("more", [0, 1])
@in_loop
async def test_what_is_unfolded_has_the_same_limit(opened: Opened, coding: str, more: int) -> None:
    response = http("200 OK", FOLD[coding](b" " * (MAX_BYTES + more)), f"Content-Encoding: {coding}")
    async with serving(answering(response)) as server, opened() as fetch:
        if more:
            assert await failure(fetch, server.url) == "too_large"
        else:
            assert len((await fetch_document(fetch, server.url, {})).body) == MAX_BYTES


@EVERY
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@in_loop
async def test_a_bomb_is_not_unfolded_beyond_the_limit(opened: Opened, coding: str) -> None:
    response = http("200 OK", FOLD[coding](bytes(100 * MAX_BYTES)), f"Content-Encoding: {coding}")
    async with serving(answering(response)) as server, opened() as fetch:
        tracemalloc.start()
        try:
            assert await failure(fetch, server.url) == "too_large"
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 8 * MAX_BYTES  # all of it would be a hundred times the limit


@EVERY
@in_loop
async def test_what_is_read_has_its_limit_however_little_it_unfolds_to(opened: Opened) -> None:
    folding = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    begin = folding.flush(zlib.Z_FULL_FLUSH)
    nothing = begin[-5:]  # an empty block
    body = begin + nothing * (MAX_BYTES // 5) + folding.compress(b"{}") + folding.flush()
    assert gzip.decompress(body) == b"{}"
    async with serving(answering(http("200 OK", body, "Content-Encoding: gzip"))) as server, opened() as fetch:
        assert await failure(fetch, server.url) == "too_large"


@EVERY
@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("br", b"{}"),
        ("zstd", b"{}"),
        ("compress", b"{}"),
        ("gzip, gzip", gzip.compress(gzip.compress(b"{}"))),
        ("gzip, identity", gzip.compress(b"{}")),
        ("gzip", b"{}"),
        ("gzip", gzip.compress(b"{}")[:-1]),
        ("gzip", gzip.compress(b"{}") + b"more"),
        ("gzip", gzip.compress(b"{}") + gzip.compress(b"{}")),
        ("gzip", gzip.compress(b"{}")[:-8] + bytes(8)),
        ("deflate", b"{}"),
        ("deflate", zlib.compress(b"{}")[2:-4]),
        ("deflate", zlib.compress(b"{}")[:-1]),
    ],
)
@in_loop
async def test_what_cannot_be_unfolded_whole_is_refused(opened: Opened, coding: str, body: bytes) -> None:
    response = http("200 OK", body, f"Content-Encoding: {coding}")
    async with serving(answering(response)) as server, opened() as fetch:
        assert await failure(fetch, server.url) == "compressed"


@EVERY
@pytest.mark.parametrize("coding", ["gzip", "deflate", "identity"])
@in_loop
async def test_a_304_may_name_a_coding_for_the_body_it_has_not(opened: Opened, coding: str) -> None:
    response = f"HTTP/1.1 304 Not Modified\r\nContent-Encoding: {coding}\r\nConnection: close\r\n\r\n".encode()
    async with serving(answering(response)) as server, opened() as fetch:
        fetched = await fetch_document(fetch, server.url, {})
    assert (fetched.status, fetched.body) == (304, b"")


# --- time -------------------------------------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("behaviour", [hang, hang_in_the_body, drip_the_head, drip_the_body])
@in_virtual_time
async def test_a_server_that_hangs_or_drips_is_cut_off(opened: Opened, behaviour: Behaviour) -> None:
    async with serving(behaviour) as server, opened() as fetch:
        began = passed()
        assert await failure(fetch, server.url) in {"timeout", "transport"}
        assert passed() - began == 5
    assert len(server.requests) == 1


@CLIENTS
@pytest.mark.parametrize("behaviour", [hang, drip_the_body])
@in_virtual_time
async def test_a_client_without_timeouts_is_cut_off_as_well(opened: Opened, behaviour: Behaviour) -> None:
    async with serving(behaviour) as server, opened(timeout=None) as fetch:
        began = passed()
        assert await failure(fetch, server.url) == "timeout"
        assert passed() - began == 5


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@CLIENTS
@in_loop
async def test_a_private_authority_is_the_clients_business(opened: Opened, authority: Authority) -> None:
    async with (
        serving(answering(http("200 OK", b"{}")), authority.server) as server,
        opened(verify=authority.client) as fetch,
    ):
        assert (await fetch_document(fetch, server.url, {})).body == b"{}"


@EVERY
@in_loop
async def test_an_authority_nobody_knows_is_not_believed(opened: Opened, authority: Authority) -> None:
    async with serving(answering(http("200 OK", b"{}")), authority.server) as server, opened() as fetch:
        assert await failure(fetch, server.url) == "transport"
    assert server.requests == []


@CLIENTS
@in_loop
async def test_another_host_than_certified_is_not_believed(opened: Opened, authority: Authority) -> None:
    async with (
        serving(answering(http("200 OK", b"{}")), authority.server) as server,
        opened(verify=authority.client) as fetch,
    ):
        assert await failure(fetch, server.url.replace("127.0.0.1", "localhost")) == "transport"
    assert server.requests == []


@in_loop
async def test_the_default_client_takes_authorities_from_the_environment(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    async with serving(answering(http("200 OK", b"{}")), authority.server) as server:
        assert (await fetch_document(HTTPXFetch(), server.url, {})).body == b"{}"


# --- where names lead -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["2852039166", "0xA9FEA9FE", "169.254.43518", "0251.0376.0251.0376"])
@in_loop
async def test_a_number_that_is_a_metadata_service_in_disguise_is_not_asked(host: str) -> None:
    assert await failure(HTTPXFetch(), f"https://{host}/latest/meta-data") == "forbidden_address"


Resolved = list[tuple[Any, ...]]


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[object]:
    """Let every name lead to these addresses, and return who was asked for."""
    asked: list[object] = []

    async def getaddrinfo(loop: object, host: object, port: object, **options: object) -> Resolved:
        asked.append(host)
        if not addresses:
            raise OSError("no such name")
        return [(0, 0, 0, "", (address, 443)) for address in addresses]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "169.254.170.2", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "fd00:ec2::254"],
)
@in_loop
async def test_a_name_that_leads_to_a_metadata_service_is_not_asked(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = resolving(monkeypatch, "10.0.0.1", address)
    assert await failure(HTTPXFetch(), "https://issuer.test/jwks.json") == "forbidden_address"
    assert asked == ["issuer.test"]


@in_loop
async def test_a_name_nobody_knows_is_a_failure_of_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch)
    assert await failure(HTTPXFetch(), "https://issuer.test/jwks.json") == "transport"


# --- the event loop ---------------------------------------------------------------------------------------------------


@in_loop
async def test_what_takes_its_time_is_not_done_on_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the CA bundle and resolving names, each for real, and in a thread."""
    threads: dict[str, int] = {}

    def noting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **options: Any) -> Any:
            threads[name] = threading.get_ident()
            return function(*args, **options)

        return noted

    monkeypatch.setattr(httpx, "create_ssl_context", noting("ca bundle", httpx.create_ssl_context))
    monkeypatch.setattr(socket, "getaddrinfo", noting("names", socket.getaddrinfo))
    async with serving(answering(http("200 OK", b"{}"))) as server:
        await fetch_document(HTTPXFetch(), server.url.replace("127.0.0.1", "localhost"), {})
    assert set(threads) == {"ca bundle", "names"}
    assert threading.get_ident() not in threads.values()


# --- what is taken for a client ---------------------------------------------------------------------------------------


class Halfway:
    """Streams like an asynchronous client, and closes like a synchronous one."""

    def stream(self, method: str, url: str) -> None: ...

    def aclose(self) -> None: ...


@pytest.mark.parametrize(
    "fetch",
    [
        httpx.Client(),
        httpx2.Client(),
        httpx.Client,
        httpx2.Client,
        httpx.AsyncClient,
        httpx2.AsyncClient,
        HTTPXFetch,
        Halfway(),
        "httpx",
        5,
        object(),
        httpx,
        {},
    ],
    ids=repr,
)
def test_what_cannot_fetch_is_refused_at_construction(fetch: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        TrustedIssuer("https://issuer.test/", "https://api.test/", fetch=fetch)
    assert caught.value.faults == (
        "TrustedIssuer: fetch= takes an httpx.AsyncClient, an httpx2.AsyncClient or an async callable "
        "(url, headers) -> Fetched",
    )
    assert not is_client(fetch)


@pytest.mark.parametrize("client", [httpx.AsyncClient(), httpx2.AsyncClient()], ids=["httpx", "httpx2"])
def test_what_can_fetch_is_taken_as_it_is(client: Any) -> None:
    assert TrustedIssuer("https://issuer.test/", "https://api.test/", fetch=client).fetch is client
    assert isinstance(as_fetch(client), ClientFetch)


def test_an_async_callable_is_called_as_it_is() -> None:
    async def own(url: str, headers: object) -> Fetched:
        return Fetched(200, {}, b"")

    assert as_fetch(own) is own
    assert TrustedIssuer("https://issuer.test/", "https://api.test/", fetch=own).fetch is own


@CLIENTS
@in_loop
async def test_keys_come_through_a_client(opened: Opened) -> None:
    """Discovery, the first fetch and a revalidation, as an application has them."""
    documents: dict[str, bytes] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = server.requests[-1]
        writer.write(
            b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n"
            if "If-None-Match" in request.title()
            else http("200 OK", documents[request.split()[1]], 'ETag: "one"', "Cache-Control: max-age=60")
        )

    clock = [0.0]
    async with serving(serve) as server, opened() as fetch:
        issuer = server.url.removesuffix("/jwks.json")
        metadata = {"issuer": issuer, "jwks_uri": f"{issuer}/keys"}
        documents["/.well-known/openid-configuration"] = json_response(metadata).body
        documents["/keys"] = json_response(jwks(OLD)).body
        source = RemoteJWKS(issuer, ALGORITHMS, fetch=fetch, clock=lambda: clock[0])
        for _ in range(3):
            assert (await source.get("old", "ES256")).kid == "old"
        clock[0] += 60
        assert (await source.get("old", "ES256")).kid == "old"
    paths = [request.split()[1] for request in server.requests]
    assert paths == ["/.well-known/openid-configuration", "/keys", "/keys"]


# --- what is no document ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "body"),
    [({}, b"no"), ({"content-encoding": "br"}, b"no"), ({"content-encoding": "gzip"}, b"no"), ({}, b" " * 600_000)],
)
@pytest.mark.parametrize("status", [404, 429, 503])
@in_loop
async def test_the_page_of_an_error_hides_nothing_of_what_its_head_says(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    head = {"retry-after": "120", **headers}
    transport = httpx.MockTransport(lambda _: httpx.Response(status, headers=head, stream=httpx.ByteStream(body)))
    with pytest.raises(FetchFailed) as caught:
        await fetch_document(as_fetch(httpx.AsyncClient(transport=transport, verify=TLS)), "https://issuer.test/", {})
    failed = caught.value
    assert (failed.kind, failed.absent, failed.retry_after) == ("status", status == 404, None if status == 404 else 120)


@pytest.mark.parametrize("coding", ["", " ", "identity", "Identity "])
@in_loop
async def test_no_coding_may_be_said_in_several_ways(coding: str) -> None:
    response = httpx.Response(200, headers={"content-encoding": coding}, stream=httpx.ByteStream(b"{}"))
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: response), verify=TLS)
    assert (await as_fetch(client)("https://issuer.test/", {})).body == b"{}"


# --- mock transports --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", [httpx, httpx2])
@in_loop
async def test_a_mock_transport_answers_like_a_network(library: Any) -> None:
    folded = library.Response(200, headers={"content-encoding": "gzip"}, content=gzip.compress(b"{}"))
    plain = library.Response(200, json={})
    for response in (plain, folded):
        transport = library.MockTransport(lambda _, response=response: response)
        fetched = await as_fetch(library.AsyncClient(transport=transport, verify=TLS))("https://issuer.test/", {})
        assert fetched.body == b"{}"


@pytest.mark.parametrize("library", [httpx, httpx2])
@in_loop
async def test_a_mock_transport_keeps_the_limit(library: Any) -> None:
    transport = library.MockTransport(lambda _: library.Response(200, content=b" " * (MAX_BYTES + 1)))
    with pytest.raises(FetchFailed, match="too_large"):
        await as_fetch(library.AsyncClient(transport=transport, verify=TLS))("https://issuer.test/", {})
