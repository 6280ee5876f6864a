"""MQTT discovery for Home Assistant, so that sensors of cameras and rules appear by themselves."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

ONLINE, OFFLINE = "online", "offline"
ON, OFF = "ON", "OFF"
NO_LABEL = "None"
"""Home Assistant's payload for an unknown state."""


@dataclass(frozen=True)
class Topics:
    """The MQTT topics of a rule at a camera.

    Attributes:
        prefix: the prefix of all topics. camera, rule: names.
    """

    prefix: str
    camera: str
    rule: str

    @property
    def base(self) -> str:
        """The prefix of this rule's topics at this camera."""
        return f"{self.prefix}/{make_slug(self.camera)}/{make_slug(self.rule)}"

    @property
    def state(self) -> str:
        """`ON` while an event is open, else `OFF`."""
        return f"{self.base}/state"

    @property
    def label(self) -> str:
        """The label of the open event, else `None`."""
        return f"{self.base}/label"

    @property
    def event(self) -> str:
        """The latest record."""
        return f"{self.base}/event"

    @property
    def picture(self) -> str:
        """The JPEG of the latest event."""
        return f"{self.base}/picture"


def make_slug(name: str) -> str:
    """Convert a name to one that is valid in topics and ids; different names stay different."""
    plain = re.sub(r"[^a-zA-Z0-9_-]+", "_", name).strip("_")
    if plain == name:
        return plain
    return f"{plain[:40]}_{sha256(name.encode()).hexdigest()[:6]}"


def match_sensors(prefix: str, discovery_prefix: str) -> str:
    """The topic filter that matches the discovery topics of all sensors under a prefix."""
    return f"{discovery_prefix}/+/{_make_node(prefix)}/+/config"


def _make_node(prefix: str) -> str:
    return make_slug(prefix.replace("/", "_"))


def describe_sensors(
    topics: Topics, discovery_prefix: str, version: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield discovery topics and their payloads: a binary sensor, a label and a picture."""
    node = _make_node(topics.prefix)
    camera, rule = make_slug(topics.camera), make_slug(topics.rule)
    common = {
        "availability_topic": f"{topics.prefix}/status",
        "device": {
            "identifiers": [f"{node}_{camera}"],
            "name": topics.camera,
            "manufacturer": "co3d",
            "sw_version": version,
        },
        "origin": {"name": "co3d", "sw_version": version},
    }
    sensors = {
        "binary_sensor": {
            "name": topics.rule,
            "state_topic": topics.state,
            "payload_on": ON,
            "payload_off": OFF,
            "json_attributes_topic": topics.event,
        },
        "sensor": {"name": f"{topics.rule} label", "state_topic": topics.label},
        "image": {
            "name": f"{topics.rule} picture",
            "image_topic": topics.picture,
            "content_type": "image/jpeg",
        },
    }
    for kind, sensor in sensors.items():
        identity = f"{node}_{camera}_{rule}_{kind}"
        topic = f"{discovery_prefix}/{kind}/{node}/{camera}_{rule}/config"
        yield topic, {**sensor, "unique_id": identity, **common}
