"""One GET, over real sockets on the loopback interface, from servers that behave and servers that do not."""

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from authz_middleware.keys import Fetched, FetchFailed, HTTPXFetch, check_url, discover_jwks_uri
from authz_middleware.keys.fetch import MAX_BYTES, check_fetched_url, fetch_document, parse_document

from .helpers import ISSUER, JWKS_URL, METADATA_URL, OLD, World, in_loop, jwks, settle
from .servers import Behaviour, answering, drip_the_body, drip_the_head, hang, hang_in_the_body, http, serving
from .virtual import in_virtual_time, passed

URL = "https://issuer.test/jwks.json"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return iter(())


async def failure(url: str, fetch_: Any = None) -> FetchFailed:
    """Return how the fetch failed, or fail because it did not."""
    try:
        await fetch_document(fetch_ or HTTPXFetch(), url, {})
    except FetchFailed as failed:
        return failed
    raise AssertionError("fetched")


# --- what a server may answer -----------------------------------------------------------------------------------------


@in_loop
async def test_a_document_is_fetched() -> None:
    async with serving(
        answering(http("200 OK", b'{"keys": []}', "ETag: W/one", "Cache-Control: max-age=60"))
    ) as server:
        response = await fetch_document(HTTPXFetch(), server.url, {})
    assert (response.status, response.body) == (200, b'{"keys": []}')
    assert (response.headers["etag"], response.headers["cache-control"]) == ("W/one", "max-age=60")
    (request,) = server.requests
    assert request.startswith("GET /jwks.json HTTP/1.1\r\n")
    lines = request.lower().splitlines()
    assert "accept: application/json" in lines
    assert "accept-encoding: identity" in lines


@in_loop
async def test_a_document_is_revalidated() -> None:
    async with serving(answering(b"HTTP/1.1 304 Not Modified\r\nETag: one\r\nConnection: close\r\n\r\n")) as server:
        response = await fetch_document(HTTPXFetch(), server.url, {"If-None-Match": "one"})
    assert (response.status, response.body) == (304, b"")
    assert "if-none-match: one" in server.requests[0].lower().splitlines()


@in_loop
async def test_one_fetch_serves_many_requests() -> None:
    fetch_once = HTTPXFetch()
    async with serving(answering(http("200 OK", b"{}"))) as server:
        responses = await asyncio.gather(*(fetch_document(fetch_once, server.url, {}) for _ in range(5)))
        tls = fetch_once._tls
        await fetch_document(fetch_once, server.url, {})
    assert fetch_once._tls is tls is not None  # the CA bundle is not read again
    assert {response.body for response in responses} == {b"{}"}
    assert len(server.requests) == 6


def test_one_fetch_serves_several_event_loops() -> None:
    fetch_once = HTTPXFetch()

    async def once() -> bytes:
        async with serving(answering(http("200 OK", b"{}"))) as server:
            return (await fetch_document(fetch_once, server.url, {})).body

    assert [asyncio.run(once()), asyncio.run(once())] == [b"{}", b"{}"]


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
@in_loop
async def test_a_redirect_is_refused_and_not_followed(status: str) -> None:
    async with (
        serving(answering(http("200 OK", b"{}"))) as elsewhere,
        serving(answering(http(status, b"", f"Location: {elsewhere.url}"))) as server,
    ):
        failed = await failure(server.url)
    assert (failed.kind, failed.absent) == ("status", False)
    assert (len(server.requests), len(elsewhere.requests)) == (1, 0)


@pytest.mark.parametrize(
    ("status", "absent"),
    [
        ("404 Not Found", True),
        ("410 Gone", False),
        ("401 Unauthorized", False),
        ("403 Forbidden", False),
        ("429 Too Many Requests", False),
        ("500 Internal Server Error", False),
        ("503 Service Unavailable", False),
        ("201 Created", False),
        ("206 Partial Content", False),
    ],
)
@in_loop
async def test_any_other_status_is_refused(status: str, absent: bool) -> None:
    async with serving(answering(http(status, b'{"keys": []}'))) as server:
        failed = await failure(server.url)
    assert (failed.kind, failed.absent) == ("status", absent)
    assert len(server.requests) == 1


# --- limits -----------------------------------------------------------------------------------------------------------


@in_loop
async def test_a_body_of_exactly_the_limit_is_read() -> None:
    async with serving(answering(http("200 OK", b" " * MAX_BYTES))) as server:
        assert len((await fetch_document(HTTPXFetch(), server.url, {})).body) == MAX_BYTES == 512 * 1024


@in_loop
async def test_a_body_one_byte_over_the_limit_is_refused() -> None:
    async with serving(answering(http("200 OK", b" " * (MAX_BYTES + 1)))) as server:
        assert (await failure(server.url)).kind == "too_large"


@pytest.mark.parametrize(("status", "kind"), [("200 OK", ("too_large", False)), ("404 Not Found", ("status", True))])
@in_loop
async def test_a_body_without_end_is_cut_off_while_reading(status: str, kind: tuple[str, bool]) -> None:
    cut_off = asyncio.Event()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        try:
            while True:
                writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
                await writer.drain()
        except ConnectionError:
            cut_off.set()

    async with serving(endless) as server:
        failed = await failure(server.url)
        await cut_off.wait()
    assert (failed.kind, failed.absent) == kind


@pytest.mark.parametrize("behaviour", [hang, hang_in_the_body, drip_the_head, drip_the_body])
@in_virtual_time
async def test_a_server_that_hangs_or_drips_is_cut_off_after_five_seconds(behaviour: Behaviour) -> None:
    """Every single read of what drips is short: only a deadline over all of them ends it."""
    async with serving(behaviour) as server:
        began = passed()
        failed = await failure(server.url)
        assert passed() - began == 5
    assert (failed.kind in {"timeout", "transport"}, failed.absent) == (True, False)
    assert len(server.requests) == 1


@in_virtual_time
async def test_a_tls_handshake_that_hangs_is_cut_off_and_its_connection_closed() -> None:
    async with serving(hang) as server:
        failed = await failure(server.url.replace("http", "https"))
        assert passed() == 2
    assert failed.kind == "transport"
    assert len(server.connections) == 1


@in_virtual_time
async def test_the_deadline_can_be_set() -> None:
    async with serving(drip_the_body) as server:
        with pytest.raises(FetchFailed, match="timeout"):
            await fetch_document(HTTPXFetch(seconds=30), server.url, {}, seconds=30)
        assert passed() == 30


# --- proxies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("scheme", ["http", "HTTP"])
@in_loop
async def test_plain_http_goes_to_no_proxy(scheme: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        serving(answering(http("200 OK", b'"proxy"'))) as proxy,
        serving(answering(http("200 OK", b'"server"'))) as server,
    ):
        monkeypatch.setenv(variable, proxy.url.removesuffix("/jwks.json"))
        response = await fetch_document(HTTPXFetch(), server.url.replace("http", scheme, 1), {})
    assert response.body == b'"server"'
    assert proxy.requests == []


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@in_loop
async def test_https_goes_through_the_proxy_of_the_environment(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(answering(http("502 Bad Gateway"))) as proxy:
        monkeypatch.setenv(variable, proxy.url.removesuffix("/jwks.json"))
        assert (await failure(URL)).kind == "transport"
    (request,) = proxy.requests
    assert request.startswith("CONNECT issuer.test:443 HTTP/1.1\r\n")


# --- no server worth the name -----------------------------------------------------------------------------------------


@in_loop
async def test_a_refused_connection_is_a_failed_fetch() -> None:
    async with serving(answering(b"")) as server:
        url = server.url
    assert (await failure(url)).kind == "transport"


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 300_000,
    ],
)
@in_loop
async def test_what_is_not_http_is_a_failed_fetch(response: bytes) -> None:
    async with serving(answering(response)) as server:
        assert (await failure(server.url)).kind == "transport"


@in_loop
async def test_an_https_url_needs_tls_behind_it() -> None:
    async with serving(answering(http("400 Bad Request"))) as server:
        assert (await failure(server.url.replace("http://", "https://"))).kind == "transport"
    assert server.requests == []


@in_loop
async def test_discovery_over_a_real_connection() -> None:
    async def metadata(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = server.requests[-1].split()[1]
        found = path == "/.well-known/oauth-authorization-server/jwks.json"
        body = f'{{"issuer": "{server.url}", "jwks_uri": "{server.url}/keys"}}'.encode()
        writer.write(http("200 OK", body) if found else http("404 Not Found"))

    async with serving(metadata) as server:
        assert await discover_jwks_uri(server.url, HTTPXFetch()) == server.url + "/keys"
    assert [request.split()[1] for request in server.requests] == [
        "/jwks.json/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server/jwks.json",
    ]


# --- a fetch of the application's own ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (OSError("https://secret.test/"), "transport"),
        (ValueError(), "transport"),
        (RecursionError(), "transport"),
        (StopAsyncIteration(), "transport"),
        (ExceptionGroup("several", [OSError()]), "transport"),
        (TimeoutError(), "timeout"),
        (asyncio.CancelledError(), "cancelled"),
        (FetchFailed("own"), "own"),
    ],
)
@in_loop
async def test_whatever_a_fetch_raises_is_a_failed_fetch(raised: BaseException, kind: str) -> None:
    async def own(url: str, headers: object) -> Fetched:
        raise raised

    failed = await failure(URL, own)
    assert (failed.kind, failed.absent) == (kind, False)


@pytest.mark.parametrize(
    ("response", "kind", "absent"),
    [
        (Fetched(200, {}, b" " * (MAX_BYTES + 1)), "too_large", False),
        (Fetched(404, {}, b" " * (MAX_BYTES + 1)), "too_large", False),
        (Fetched(404, {}, b""), "status", True),
        (Fetched(302, {"location": "https://elsewhere.test/"}, b""), "status", False),
        (None, "transport", False),
        (b"{}", "transport", False),
        (Fetched(200, {}, None), "transport", False),  # type: ignore[arg-type]
        (Fetched([], {}, b""), "transport", False),  # type: ignore[arg-type]
    ],
)
@in_loop
async def test_limits_hold_for_any_fetch(response: Any, kind: str, absent: bool) -> None:
    async def own(url: str, headers: object) -> Any:
        return response

    failed = await failure(URL, own)
    assert (failed.kind, failed.absent) == (kind, absent)


@in_virtual_time
async def test_the_deadline_holds_for_any_fetch() -> None:
    async def own(url: str, headers: object) -> Fetched:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    assert (await failure(URL, own)).kind == "timeout"
    assert passed() == 5


@pytest.mark.parametrize("answer", [Fetched(200, {}, b"{}"), None, b"{}"])
@in_loop
async def test_a_fetch_that_is_not_async_is_a_failed_fetch_that_says_so(answer: Any) -> None:
    assert (await failure(URL, lambda url, headers: answer)).kind == "not_async"


@in_loop
async def test_a_fetch_whose_task_is_ended_stays_ended() -> None:
    async def own(url: str, headers: object) -> Fetched:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    task = asyncio.create_task(fetch_document(own, URL, {}))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_bodies_never_show() -> None:
    assert "hush" not in repr(Fetched(200, {}, b"hush"))


# --- URLs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://issuer.test",
        "https://issuer.test/",
        "https://issuer.test:8443/tenant/a%20b?query=1",
        "HTTPS://issuer.test/",
        "https://10.0.0.1/",
        "https://169.253.169.254/",
        "https://metadata.google.internal.issuer.test/",
        "https://[::ffff:10.0.0.1]/",
        "https://[2001:db8::1]/",
        "http://localhost",
        "http://LOCALHOST:8080/",
        "http://127.0.0.1/",
        "http://127.255.255.254:1/",
        "http://[::1]:8080/",
        "http://[::1%25lo]/",
        "http://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::a00:1]/",
        "https://[2002:a00:1::1]/",
        "https://0x.issuer.test/",
        "https://issuer.test./",
    ],
)
def test_a_url_to_fetch_from(url: str) -> None:
    assert check_url(url, "jwks_uri") == []
    assert check_fetched_url(url, "jwks_uri") == url


NO_HTTPS = "jwks_uri is no https URL; write it with https:// and a host"
NOT_LOOPBACK = "jwks_uri must use https; http is for loopback addresses only"
NO_URL = "jwks_uri is no URL; write an https URL"
METADATA_SERVICE = "jwks_uri is a link-local or cloud metadata address; write the authorization server's own host"
NUMBER = "jwks_uri has an IP address in an unusual form; write four decimal numbers, or the host's name"
SECRET = "jwks_uri must not contain credentials or a fragment"
ODD = "jwks_uri contains spaces, backslashes, control or non-ASCII characters; percent-encode them"


@pytest.mark.parametrize(
    ("url", "faults"),
    [
        ("", [NO_HTTPS]),
        ("issuer.test", [NO_HTTPS]),
        ("//issuer.test/", [NO_HTTPS]),
        ("/jwks.json", [NO_HTTPS]),
        ("ftp://issuer.test/", [NO_HTTPS]),
        ("file:///etc/passwd", [NO_HTTPS]),
        ("javascript:alert(1)", [NO_HTTPS]),
        ("data:application/json,{}", [NO_HTTPS]),
        ("unix://socket", [NO_HTTPS]),
        ("https:issuer.test", [NO_HTTPS]),
        ("https://", [NO_HTTPS]),
        ("https:///jwks.json", [NO_HTTPS]),
        ("https://:443/", [NO_HTTPS]),
        ("https://user@/", [NO_HTTPS]),
        ("https:\\\\issuer.test\\", [NO_HTTPS]),
        ("http://issuer.test/", [NOT_LOOPBACK]),
        ("http://localhost.issuer.test/", [NOT_LOOPBACK]),
        ("http://127.0.0.1.issuer.test/", [NOT_LOOPBACK]),
        ("http://10.0.0.1/", [NOT_LOOPBACK]),
        ("http://169.254.169.254/", [NOT_LOOPBACK, METADATA_SERVICE]),
        ("https://169.254.169.254/latest/meta-data", [METADATA_SERVICE]),
        ("https://169.254.0.1/", [METADATA_SERVICE]),
        ("https://169.254.170.2:8443/", [METADATA_SERVICE]),
        ("https://[fe80::1]/", [METADATA_SERVICE]),
        ("https://[fe80::1%25eth0]/", [METADATA_SERVICE]),
        ("https://[::ffff:169.254.169.254]/", [METADATA_SERVICE]),
        ("https://[::ffff:a9fe:a9fe]/", [METADATA_SERVICE]),
        ("https://[fd00:ec2::254]/", [METADATA_SERVICE]),
        ("https://100.100.100.200/", [METADATA_SERVICE]),
        ("https://168.63.129.16/", [METADATA_SERVICE]),
        ("https://192.0.0.192/", [METADATA_SERVICE]),
        ("https://metadata.google.internal/", [METADATA_SERVICE]),
        ("https://METADATA.google.internal./", [METADATA_SERVICE]),
        ("https://metadata/", [METADATA_SERVICE]),
        ("https://instance-data/", [METADATA_SERVICE]),
        ("http://0.0.0.0/", [NOT_LOOPBACK]),
        ("http://127.0.0.1%.evil.test/", [NOT_LOOPBACK]),
        ("http://127.0.0.1%25lo/", [NOT_LOOPBACK]),
        ("http://127.1/", [NOT_LOOPBACK, NUMBER]),
        ("http://2130706433/", [NOT_LOOPBACK, NUMBER]),
        ("https://2852039166/", [NUMBER]),
        ("https://0xa9fea9fe/", [NUMBER]),
        ("https://0XA9.0xfe.0xa9.0xfe/", [NUMBER]),
        ("https://0251.0376.0251.0376/", [NUMBER]),
        ("https://169.254.43518/", [NUMBER]),
        ("https://169.254.169.254./", [NUMBER]),
        ("https://issuer.test.0x/", [NUMBER]),
        ("https://[::a9fe:a9fe]/", [METADATA_SERVICE]),
        ("https://[64:ff9b::a9fe:a9fe]/", [METADATA_SERVICE]),
        ("https://[64:ff9b::6464:64c8]/", [METADATA_SERVICE]),
        ("https://[2002:a9fe:a9fe::1]/", [METADATA_SERVICE]),
        ("https://[fd00:ec2::23]/", [METADATA_SERVICE]),
        ("http://[::]/", [NOT_LOOPBACK]),
        ("http://[2001:db8::1]/", [NOT_LOOPBACK]),
        ("https://user@issuer.test/", [SECRET]),
        ("https://user:secret@issuer.test/", [SECRET]),
        ("https://@issuer.test/", [SECRET]),
        ("https://:@issuer.test/", [SECRET]),
        ("https://issuer.test/#keys", [SECRET]),
        ("https://issuer.test/#", [SECRET]),
        ("https://issuer.test/a b", [ODD]),
        (" https://issuer.test/", [ODD]),
        ("https://issuer.test/\x00", [ODD]),
        ("https://issuer.test/\r\nHost: evil", [ODD]),
        ("https://issu\ter.test/", [ODD]),
        ("https://issuer.test/\x7f", [ODD]),
        ("https://issuer.test/caf\xe9", [ODD]),
        ("https://iss\N{CYRILLIC SMALL LETTER U}er.test/", [ODD]),
        ("https://issuer.test\\.evil.test/", [ODD]),
        ("https://issuer.test/a\\b", [ODD]),
        ("https://issuer.test\\@evil.test/", [SECRET, ODD]),
        ("http://user@issuer.test/a b", [NOT_LOOPBACK, SECRET, ODD]),
        ("https://[::1/", [NO_URL]),
        ("https://::1]/", [NO_URL]),
        ("https://[nonsense]/", [NO_URL]),
        ("https://issuer.test:99999/", [NO_URL]),
        ("https://issuer.test:https/", [NO_URL]),
        ("https://issuer.test:-1/", [NO_URL]),
    ],
)
def test_a_url_not_to_fetch_from(url: str, faults: list[str]) -> None:
    assert check_url(url, "jwks_uri") == faults
    with pytest.raises(FetchFailed) as failed:
        check_fetched_url(url, "jwks_uri")
    assert failed.value.kind == "bad_url"


@pytest.mark.parametrize("url", [None, 1, b"https://issuer.test/", ["https://issuer.test/"]])
def test_what_is_no_text_is_no_url(url: object) -> None:
    with pytest.raises(FetchFailed) as failed:
        check_fetched_url(url, "jwks_uri")
    assert failed.value.kind == "bad_url"


# --- parsing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "in_thread"), [(0, False), (32 * 1024, False), (32 * 1024 + 1, True)])
@in_loop
async def test_a_large_document_is_parsed_in_a_thread(size: int, in_thread: bool) -> None:
    def parse(document: bytes) -> tuple[int, bool]:
        return len(document), threading.current_thread() is not threading.main_thread()

    assert await parse_document(parse, bytes(size)) == (size, in_thread)


@pytest.mark.parametrize("jwks_uri", [None, JWKS_URL])
@in_loop
async def test_large_documents_are_read_like_others(jwks_uri: str | None) -> None:
    blank = b" " * 40_000
    world = World(jwks_uri=jwks_uri)
    for url, document in [
        (METADATA_URL, {"issuer": ISSUER, "jwks_uri": JWKS_URL}),
        (JWKS_URL, jwks(OLD)),
    ]:
        world.network.answers[url] = Fetched(200, {}, json.dumps(document).encode() + blank)
    assert (await world.get()).kid == "old"
    world.network.answer(Fetched(200, {}, b"<" + blank))
    world.clock.now += 600
    await world.get()
    assert world.source.status().last_error == "not_json"
