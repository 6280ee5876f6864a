"""Ask a server what its OpenAPI document allows, and what it does not: no 5xx, no contract broken.

    PYTHONPATH=src python scripts/fuzz_api.py --cases 10000

Needs schemathesis.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from co3d.engine.camera import Camera
from co3d.engine.events import Event, Outbox
from co3d.engine.events.event import make_event_id
from co3d.engine.opening import open_engine
from co3d.serving.run import open_socket, run_server
from co3d.serving.service import open_service
from co3d.serving.settings import ServerSettings, ServingLimits
from co3d.serving.tokens import add_token

PORT = 8792
SAMPLE = Path(__file__).parents[1] / "src/co3d/assets/sample.mp4"
OPERATIONS = 19
CONFIGURATION = """
[checks]
negative_data_rejection.expected-statuses = [
    "400", "401", "403", "404", "405", "406", "408", "409", "413", "415", "422", "428", "429", "5xx"
]
"""
"""What is too large is refused before it is read, whatever else is wrong with it."""

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
)


def prepare(folder: Path) -> str:
    """Events and a token; the token."""
    outbox = Outbox(folder / "events")
    for number in range(5):
        event = Event(make_event_id(), "door", "fall", "pan left", number, number)
        outbox.append("start", event)
    outbox.close()
    return add_token(folder / "tokens.json", "fuzz", "admin")


def serve(folder: Path) -> None:
    """Serve without a limit of requests."""
    limits = ServingLimits(requests_per_second=1e9, request_burst=10**9)
    settings = ServerSettings(
        port=PORT,
        tokens=folder / "tokens.json",
        events=folder / "events",
        state=folder / "state",
        allowed_sources=("rtsp://127.0.0.0/8",),
        limits=limits,
    )
    listener = open_socket(settings)
    service = open_service(settings, open_engine())
    service.streams.configure([Camera("door", str(SAMPLE))])
    run_server(service, listener, lambda: print("served", flush=True))


def main() -> None:
    """Run it; the exit code is schemathesis's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        serve(given.serve)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        token = prepare(folder)
        command = [sys.executable, __file__, "--serve", name]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        while "served" not in server.stdout.readline():
            assert server.poll() is None, "the server ended"
        try:
            configuration = folder / "schemathesis.toml"
            configuration.write_text(CONFIGURATION)
            fuzz = [str(Path(sys.executable).with_name("schemathesis"))]
            fuzz += ["--config-file", str(configuration), "run"]
            fuzz += [f"http://127.0.0.1:{PORT}/v1/openapi.json", "--checks", ",".join(CHECKS)]
            fuzz += ["--header", f"Authorization: Bearer {token}", "--phases", "fuzzing"]
            fuzz += [
                "--max-examples",
                str(given.cases // OPERATIONS),
                "--exclude-path",
                "/v1/events/stream",
            ]
            fuzz += ["--request-timeout", "20", "--no-color", "--continue-on-failure"]
            sys.exit(subprocess.run(fuzz, check=False).returncode)
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(20)


if __name__ == "__main__":
    main()
