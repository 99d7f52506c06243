"""Certificates of a test's own authority, and a listener that speaks TLS as a PostgreSQL server does, and no more."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DAY = dt.timedelta(days=1)
_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
_ASK_PASSWORD = b"R\x00\x00\x00\x08\x00\x00\x00\x03"


@dataclass(frozen=True)
class Authority:
    """Who signs certificates; `file` has its own."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    file: Path

    def issue(self, folder: Path, host: str, *, ends: dt.timedelta = _DAY) -> Path:
        """A file with a certificate for a host, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(host, key, self.certificate.subject, self.key, ends=ends)
        return _write(folder / f"{host}.pem", certificate, key)


def authority(folder: Path, name: str = "ca.test") -> Authority:
    """An authority that no program trusts yet."""
    key = ec.generate_private_key(ec.SECP256R1())
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = _certificate(name, key, own, key, is_authority=True)
    return Authority(key, certificate, _write(folder / f"{name}.pem", certificate))


def self_signed(folder: Path, host: str) -> Path:
    """Return a file with a self-signed certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    return _write(folder / f"self-{host}.pem", _certificate(host, key, own, key), key)


def _certificate(
    host: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    ends: dt.timedelta = _DAY,
    is_authority: bool = False,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 10 * _DAY)
        .not_valid_after(now + ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    return builder.sign(issuer_key, hashes.SHA256())


def _write(path: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey | None = None) -> Path:
    content = certificate.public_bytes(serialization.Encoding.PEM)
    if key is not None:
        content += key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    path.write_bytes(content)
    return path


@dataclass
class Listener:
    """What a client has said: in the clear, and behind a handshake that it was content with."""

    port: int
    plain: list[bytes] = field(default_factory=list)
    startups: list[bytes] = field(default_factory=list)
    passwords: list[bytes] = field(default_factory=list)
    answered: threading.Event = field(default_factory=threading.Event)

    def serve(self, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        """Serves one client after the other, until the socket is closed."""
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(10)
                try:
                    self._serve(connection, context)
                except (OSError, EOFError):
                    pass  # the client did not like what it saw
                finally:
                    self.answered.set()

    def _serve(self, connection: socket.socket, context: ssl.SSLContext | None) -> None:
        first = connection.recv(8)
        if first == _SSL_REQUEST:
            connection.sendall(b"S" if context else b"N")
        else:
            self.plain.append(first + connection.recv(1000))
            connection.sendall(_ASK_PASSWORD)
            self.passwords.append(connection.recv(1000))
            return
        if context is None:
            self.plain.append(connection.recv(1000))
            return
        with context.wrap_socket(connection, server_side=True) as secure:
            self.startups.append(secure.recv(1000))
            secure.sendall(_ASK_PASSWORD)
            self.passwords.append(secure.recv(1000))


@contextmanager
def postgres_listener(certificate: Path | None) -> Iterator[Listener]:
    """A listener on 127.0.0.1 with this certificate; without one it says that it has no TLS."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listener = Listener(listening.getsockname()[1])
        thread = threading.Thread(target=listener.serve, args=(listening, context))
        thread.start()
        try:
            yield listener
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
