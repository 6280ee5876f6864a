"""`co3d serve` and `co3d token`, from the command line."""

import json
import re
import signal
import urllib.request

import pytest

from co3d.serving.tokens import Person, Role, TokenFile
from support.videos import write_video


def test_a_token_is_printed_once_and_its_hash_kept(co3d, tmp_path):
    path = tmp_path / "tokens.json"
    outcome = co3d("token", "alice", "--role", "operator", "--tokens", path)
    assert outcome.code == 0
    token = outcome.out.strip()
    assert TokenFile(path).find(token) == Person("alice", Role.OPERATOR)
    assert token not in path.read_text()


def test_serving_to_strangers_without_protection_is_refused(co3d):
    outcome = co3d("serve", "--host", "0.0.0.0")
    assert outcome.code == 2
    assert "without tokens" in outcome.err


@pytest.mark.slow
def test_a_fleet_is_served_and_ends_in_order(spawn_co3d, tmp_path):
    video = write_video(tmp_path / "door.mp4", 24)
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(
        f"network: {{weights: random}}\ncameras: [{{name: door, source: '{video}'}}]\n"
    )
    server = spawn_co3d("serve", fleet, "--port", 0)
    url = re.search(r"http://\S+", server.stdout.readline())[0]
    token = server.stdout.readline().rpartition("#token=")[2].strip()

    def ask(path: str):
        request = urllib.request.Request(url + path, headers={"Authorization": f"Bearer {token}"})
        return json.load(urllib.request.urlopen(request, timeout=20))

    assert ask("v1/server")["role"] == "operator"
    assert [stream["source"] for stream in ask("v1/streams")] == [str(video)]
    server.send_signal(signal.SIGINT)
    assert server.wait(15) in (0, 130)
    assert "Traceback" not in server.stderr.read()
