"""Certificates of HTTPS and RTSPS sources, on loopback."""

import datetime
import socket
import ssl
from http.server import ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from co3d.errors import CertificateError, OptionError, SourceUnreachableError
from co3d.video import certificates, read_video
from co3d.video.allowance import Allowance
from support.servers import VideoHandler, run_server
from support.videos import write_video

LOOPBACK = Allowance(["https://127.0.0.0/8", "rtsps://127.0.0.0/8"])


def certify(folder: Path, name: str, hosts: list, signer=None, days: int = 1) -> SimpleNamespace:
    """Write a certificate for hosts and one with its key; without a signer, an authority's."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if signer is None else signer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=3))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
    )
    if hosts:
        names = [x509.DNSName(h) if isinstance(h, str) else x509.IPAddress(h) for h in hosts]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    made = builder.sign(key if signer is None else signer.key, hashes.SHA256())
    public = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path, whole = folder / f"{name}.pem", folder / f"{name}.key.pem"
    path.write_bytes(public)
    whole.write_bytes(public + private)
    return SimpleNamespace(subject=subject, key=key, path=path, whole=whole)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An authority and certificates; `find(name)` gives the port of a server that has one."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = certify(folder, "authority", [])
    hosts = ["localhost", ip_address("127.0.0.1")]
    for name, names, days in (
        ("good", hosts, 1),
        ("old", hosts, -1),
        ("named", ["camera.example"], 1),
    ):
        certify(folder, name, names, authority, days)
    data = write_video(folder / "a.mkv", frames=4, size=(32, 32)).read_bytes()

    class Handler(VideoHandler):
        body = data

    class Server(ThreadingHTTPServer):
        def handle_error(self, request, client_address) -> None:
            pass  # clients that do not trust the server hang up

    def open_server(name: str) -> Server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / f"{name}.key.pem")
        server = Server(("127.0.0.1", 0), Handler)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        return server

    with (
        run_server(open_server("good")) as good,
        run_server(open_server("old")) as old,
        run_server(open_server("named")) as named,
    ):
        ports = {"good": good, "old": old, "named": named}
        yield SimpleNamespace(ca_file=authority.path, folder=folder, ports=ports)


def read(made, server: str, host: str = "localhost", scheme: str = "https", **options) -> int:
    url = f"{scheme}://{host}:{made.ports[server]}/a.mkv"
    with read_video(url, reconnect_seconds=0, **options) as reader:
        return len(list(reader))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_source_whose_certificate_a_trusted_authority_signed_is_read(made, host):
    assert read(made, "good", host, ca_file=made.ca_file) == 4


def test_ssl_cert_file_names_the_authorities_of_this_machine(made, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(made.ca_file))
    assert certificates.find_authorities() == str(made.ca_file)
    assert read(made, "good") == 4


@pytest.mark.parametrize("scheme", ["https", "rtsps"])
@pytest.mark.parametrize("allowance", [None, LOOPBACK], ids=["any", "allowed"])
@pytest.mark.parametrize(
    ("server", "trusts", "reason"),
    [
        ("good", False, "issuer certificate"),
        ("old", True, "has expired"),
        ("named", True, "not valid for 'localhost'"),
    ],
)
def test_a_certificate_that_does_not_verify_is_refused_without_a_retry(
    made, scheme, allowance, server, trusts, reason
):
    options = {"ca_file": made.ca_file} if trusts else {}
    url = f"{scheme}://me:secret@localhost:{made.ports[server]}/a.mkv"
    with pytest.raises(CertificateError, match=r"ca_file.*tls: off") as caught:
        read_video(url, allowance=allowance, **options)  # it is not tried again
    assert reason in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("allowance", [None, LOOPBACK], ids=["any", "allowed"])
@pytest.mark.parametrize("server", ["good", "old", "named"])
def test_tls_off_accepts_any_certificate(made, allowance, server):
    assert read(made, server, tls="off", allowance=allowance) == 4


def test_a_source_opened_by_its_ip_must_have_a_certificate_for_its_name(made, monkeypatch):
    def resolve(_host: str, port: int | None, *_: object, **__: object) -> list:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port or 0))]

    monkeypatch.setattr("co3d.video.allowance.socket.getaddrinfo", resolve)
    options = {"allowance": LOOPBACK, "ca_file": made.ca_file}
    assert read(made, "named", "camera.example", **options) == 4
    with pytest.raises(CertificateError, match=r"not valid for 'other\.example'"):
        read(made, "named", "other.example", **options)
    with pytest.raises(SourceUnreachableError) as caught:  # the server speaks TLS, but not RTSP
        read(made, "named", "camera.example", "rtsps", **options)
    assert not isinstance(caught.value, CertificateError)


def test_a_sandbox_verifies_too(made, read_in_children):
    read_in_children()
    assert read(made, "good", ca_file=made.ca_file) == 4
    with pytest.raises(CertificateError, match="issuer certificate"):
        read(made, "good")


def test_settings_that_cannot_work_are_refused(made, tmp_path):
    with pytest.raises(OptionError, match="name a PEM file"):
        read(made, "good", ca_file=tmp_path / "absent.pem")
    with pytest.raises(OptionError, match="verifies nothing"):
        read(made, "good", ca_file=made.ca_file, tls="off")
    with pytest.raises(OptionError, match="'verify' or 'off'"):
        read(made, "good", tls="maybe")
