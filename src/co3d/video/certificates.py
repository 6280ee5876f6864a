"""Whether and with which authorities the certificates of HTTPS and RTSPS sources are verified."""

import importlib
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from co3d.errors import CertificateError, OptionError
from co3d.video.address import hide_password

TlsMode = Literal["verify", "off"]
SCHEMES = ("https", "rtsps")
PORTS = {"https": 443, "rtsps": 322}


@dataclass(frozen=True)
class TlsSettings:
    """How certificates are verified; see `read_video`.

    Attributes:
        mode: "verify", or "off" to accept any certificate.
        ca_file: PEM file of the authorities to trust; None for the system's.

    Raises:
        OptionError: the mode is unknown, or the file cannot be read.
    """

    mode: TlsMode = "verify"
    ca_file: str | None = None

    def __post_init__(self) -> None:
        if self.mode not in ("verify", "off"):
            raise OptionError(f"cannot read with tls {self.mode!r}; choose 'verify' or 'off'")
        if self.ca_file is not None:
            if self.mode == "off":
                raise OptionError("cannot use ca_file with tls 'off', which verifies nothing")
            self.make_context()

    def list_ffmpeg_options(self, scheme: str, name: str | None = None) -> dict[str, str]:
        """FFmpeg options for an address of this scheme.

        Args:
            name: the host that the certificate must name, if the address has an IP in its place.
        """
        if scheme not in SCHEMES:
            return {}
        if self.mode == "off":
            return {"tls_verify": "0"}
        authorities = self.ca_file or find_authorities()
        options = {} if authorities is None else {"ca_file": authorities}
        return {**options, "tls_verify": "1"} | ({} if name is None else {"verifyhost": name})

    def make_context(self) -> ssl.SSLContext:
        """An SSL context with the same settings, for Python's own connections.

        Raises:
            OptionError: `ca_file` cannot be read.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file or find_authorities())
        except (OSError, ValueError) as error:
            raise OptionError(
                f"cannot use ca_file {self.ca_file}: {error}; name a PEM file of certificates"
            ) from error
        if self.mode == "off":
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context

    def explain_refusal(
        self, shown: str, address: str, name: str | None, timeout_seconds: float
    ) -> CertificateError | None:
        """The certificate error of a failed connection, which FFmpeg hides; None if it had none.

        Args:
            shown: the address as the user gave it.
            address, name: the one that was opened, and as in `list_ffmpeg_options`.
        """
        parts = urlsplit(address)
        if parts.scheme not in SCHEMES or self.mode == "off" or parts.hostname is None:
            return None
        place = (parts.hostname, parts.port or PORTS[parts.scheme])
        try:
            with (
                socket.create_connection(place, timeout_seconds) as connection,
                self.make_context().wrap_socket(connection, server_hostname=name or parts.hostname),
            ):
                return None
        except ssl.SSLCertVerificationError as error:
            return refuse_certificate(shown, error)
        except OSError:
            return None


def refuse_certificate(address: str, error: ssl.SSLCertVerificationError) -> CertificateError:
    """The error for a certificate that does not verify."""
    reason = error.verify_message.rstrip(".")
    return CertificateError(
        f"cannot trust {hide_password(address)}: its certificate does not verify ({reason}); name "
        "the authority that signed it (ca_file), or take any certificate (tls: off)"
    )


def find_authorities() -> str | None:
    """The PEM file of authorities that this machine trusts; None if there is none.

    It is the file of the variable SSL_CERT_FILE, else OpenSSL's, else the package certifi's.
    """
    found = ssl.get_default_verify_paths().cafile
    if found is not None:
        return found
    try:
        bundle = importlib.import_module("certifi").where()
    except ImportError:
        return None
    return bundle if Path(bundle).is_file() else None
