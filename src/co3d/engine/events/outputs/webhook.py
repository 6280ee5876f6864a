"""An output that posts records to a web server, signed."""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

import requests

from co3d.engine.events.outputs.output import Delivery, FailedDeliveryError, RefusedDeliveryError
from co3d.errors import OutputError

CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 10.0
SIGNATURE_HEADER = "Co3d-Signature"
REFUSALS = (400, 410, 413, 415, 422)
"""Status codes that refuse the record itself, so that a retry would fail too."""


class WebhookOutput:
    """Posts each record as JSON; a status of 200 to 299 means success.

    `Idempotency-Key` is the same whenever the same record is sent. With a secret, `Co3d-Signature`
    is `t=TIME,v1=HEX`: TIME is Unix time in seconds, HEX the HMAC-SHA256 of `TIME.BODY` under the
    secret. Redirects are not followed. The statuses 400, 410, 413, 415 and 422 refuse a record for
    good; any other failure is retried.

    Args:
        url: http or https. secret: for the signature; None for no signature.
        headers: additional headers, such as `Authorization`.
        clock: gives Unix time.
    """

    most_tries = None

    def __init__(
        self,
        url: str,
        secret: str | None = None,
        headers: Mapping[str, str] | None = None,
        clock=time.time,
    ) -> None:
        self._url, self._secret, self._clock = url, secret, clock
        self._headers = dict(headers or {})
        host = urlsplit(url)
        # Only scheme, host and port are shown, because the rest may hold a secret.
        self._name = f"{host.scheme}://{host.hostname}" + (f":{host.port}" if host.port else "")
        self._session = requests.Session()
        self._session.auth = lambda request: request  # no passwords from ~/.netrc

    def check(self) -> None:
        """Send a HEAD request; any response will do. See `Output`."""
        try:
            self._request("HEAD", None, {})
        except requests.RequestException as error:
            raise OutputError(
                f"cannot reach the webhook {self._name}: {_explain(error)}; check its address"
            ) from error

    def deliver(self, delivery: Delivery, stopping: threading.Event) -> None:  # noqa: ARG002
        """Post a record; see `Output`."""
        record = delivery.record
        body = json.dumps(record.as_dict(), ensure_ascii=False).encode()
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": f"{record.event.id}-{record.number}",
        }
        if self._secret is not None:
            headers[SIGNATURE_HEADER] = sign(body, self._secret, int(self._clock()))
        try:
            code, retry_after = self._request("POST", body, headers)
        except requests.RequestException as error:
            raise FailedDeliveryError(f"{self._name}: {_explain(error)}") from error
        if 200 <= code < 300:
            return
        if code in REFUSALS:
            raise RefusedDeliveryError(f"{self._name} answered {code}")
        seconds = float(retry_after) if retry_after.isdecimal() else 0.0
        raise FailedDeliveryError(f"{self._name} answered {code}", min(seconds, 3600.0))

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _request(self, method: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, str]:
        """Send a request; returns the response's status and `Retry-After`."""
        with self._session.request(
            method,
            self._url,
            data=body,
            headers=self._headers | headers,
            timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
            allow_redirects=False,
            stream=True,
        ) as answer:
            return answer.status_code, answer.headers.get("Retry-After", "")


def sign(body: bytes, secret: str, unix_seconds: int) -> str:
    """The signature header for a body and the time of sending."""
    signed = f"{unix_seconds}.".encode() + body
    return f"t={unix_seconds},v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


def _explain(error: requests.RequestException) -> str:
    """Why a request failed. The error's own text is not shown, because it has the whole URL."""
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not valid"
    if isinstance(error, requests.Timeout):
        return "it did not answer in time"
    if isinstance(error, requests.ConnectionError):
        return "there is no connection"
    return f"the request failed ({type(error).__name__})"
