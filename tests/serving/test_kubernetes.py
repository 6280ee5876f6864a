"""The Kubernetes manifests fit each other, the server and Kubernetes' own schemas."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from co3d.cli.commands.serving import serving_app
from co3d.engine.fleet_file import read_fleet
from co3d.models import find_card
from co3d.models.registry import create_model
from co3d.serving.settings import ServerSettings
from support.environments import find_environment

FOLDER = Path(__file__).parents[2] / "examples" / "serving" / "kubernetes"


@pytest.fixture(scope="module")
def manifests() -> dict[str, Any]:
    """All objects that the kustomization lists, by kind."""
    names = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    assert sorted([*names, "kustomization.yaml"]) == sorted(path.name for path in FOLDER.iterdir())
    found = [one for name in names for one in yaml.safe_load_all((FOLDER / name).read_text())]
    by_kind = {one["kind"]: one for one in found}
    assert len(by_kind) == len(found)
    return by_kind


@pytest.fixture(scope="module")
def pod(manifests) -> dict[str, Any]:
    return manifests["StatefulSet"]["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def container(pod) -> dict[str, Any]:
    (only,) = pod["containers"]
    return only


def test_the_server_takes_the_arguments_and_answers_the_probes(container):
    command = get_command(serving_app).commands["serve"]  # pyright: ignore[reportAttributeAccessIssue]
    given = command.make_context("serve", list(container["args"])).params
    settings = ServerSettings(
        host=given["host"], tokens=given["tokens"], public_url=given["behind_proxy"]
    )
    probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
    assert [probe["path"] for probe in probes] == ["/healthz", "/healthz", "/readyz"]
    for probe in probes:
        (host,) = [head["value"] for head in probe["httpHeaders"] if head["name"] == "Host"]
        assert settings.allowed_hosts is not None
        assert host in settings.allowed_hosts
    (port,) = [port for port in container["ports"] if port["name"] == "http"]
    assert port["containerPort"] == settings.port
    mounted = [mount["mountPath"] for mount in container["volumeMounts"]]
    for path in (given["fleet"], given["tokens"], given["state"], given["events"]):
        assert any(path.is_relative_to(mount) for mount in mounted), path


def test_the_fleet_file_fits_the_network(manifests, container, tmp_path):
    text = manifests["ConfigMap"]["data"]["fleet.yaml"]
    path = tmp_path / "fleet.yaml"
    assert "${file:/etc/co3d/cameras/door}" in text
    (tmp_path / "door").write_text("a secret\n")
    path.write_text(text.replace("/etc/co3d/cameras", str(tmp_path)))
    fleet = read_fleet(path)
    assert [camera.name for camera in fleet.list_cameras()] == ["door"]
    card = find_card(create_model("camera_motion"))
    assert card is not None
    labels = {label for rule in fleet.rules for label in rule.labels}
    assert labels <= set(card.labels)
    events = f"--events={fleet.events.folder}"
    assert events in container["args"]


def test_references_between_objects_resolve(manifests, pod, container):
    claims = manifests["StatefulSet"]["spec"]["volumeClaimTemplates"]
    volumes = {volume["name"]: volume for volume in [*pod["volumes"], *map(_get_name, claims)]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert volumes["fleet"]["configMap"]["name"] == _get_name(manifests["ConfigMap"])["name"]
    labels = manifests["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    service, policy = manifests["Service"], manifests["NetworkPolicy"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    assert manifests["StatefulSet"]["spec"]["serviceName"] == _get_name(service)["name"]
    (rule,) = manifests["Ingress"]["spec"]["rules"]
    assert f"--behind-proxy=https://{rule['host']}" in container["args"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    assert backend["name"] == _get_name(service)["name"]
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    assert [image["name"] for image in kustomization["images"]] == [container["image"]]
    assert _get_name(manifests["Namespace"])["name"] == kustomization["namespace"]


def _get_name(manifest: dict[str, Any]) -> dict[str, Any]:
    return manifest["metadata"]


@pytest.mark.slow
@pytest.mark.parametrize("version", ["1.27", "1.31", "1.37"])
def test_every_field_is_in_the_kubernetes_schema(version):
    python = find_environment("deployment") / "bin" / "python"
    files = [path for path in FOLDER.iterdir() if path.name != "kustomization.yaml"]
    command = [python, "-m", "kubernetes_validate", "--strict", "-k", version, *files]
    outcome = subprocess.run(command, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stdout
    assert outcome.stdout.count(" passed for resource ") == 6, outcome.stdout
