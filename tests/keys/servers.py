"""Loopback servers that behave and servers that do not, over real sockets, with and without TLS."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """A loopback server that keeps the requests it was sent."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.requests: list[str] = []
        self.connections: set[asyncio.Task[None]] = set()
        self.url = ""
        self._behaviour = behaviour

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(asyncio.create_task(self._handle(reader, writer)))

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            if (first := await reader.readexactly(1)) in {b"G", b"C"}:  # GET or CONNECT: no TLS, that is
                self.requests.append((first + await reader.readuntil(b"\r\n\r\n")).decode())
            await self._behaviour(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def serving(behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Serve, and at the end see that the client has left every connection."""
    server = Server(behaviour)
    listener = await asyncio.start_server(server.connected, "127.0.0.1", 0, ssl=tls)
    scheme = "http" if tls is None else "https"
    server.url = f"{scheme}://127.0.0.1:{listener.sockets[0].getsockname()[1]}/jwks.json"
    async with listener:
        yield server
        if server.connections:
            _, open_ = await asyncio.wait(server.connections, timeout=30)
            if open_:
                raise AssertionError("the client left a connection open")


def http(status: str, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


def answering(response: bytes) -> Behaviour:
    async def behaviour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(response)
        await writer.drain()

    return behaviour


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def hang_in_the_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(http("200 OK", b"{", length=12))
    await reader.read()


async def _drip(data: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for number in range(len(data)):
        writer.write(data[number : number + 1])
        await writer.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await reader.read()
                return


async def drip_the_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _drip(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 50_000, reader, writer)


async def drip_the_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(http("200 OK", length=100_000))
    await _drip(b" " * 100_000, reader, writer)


KEY_USAGE = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


class Authority:
    """A certificate authority of one server, whose certificate is in a file."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
            .add_extension(KEY_USAGE, True)
            .add_extension(identifier, False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), False)
            .sign(key, hashes.SHA256())
        )
        self.file = folder / "authority.pem"
        self.file.write_bytes(certificate.public_bytes(Encoding.PEM))
        private = folder / "server.pem"
        private.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + self.file.read_bytes()
        )
        self.server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.server.load_cert_chain(private)
        self.client = ssl.create_default_context(cafile=self.file)
