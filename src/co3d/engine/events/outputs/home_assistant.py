"""What Home Assistant is told of cameras and rules, so that their sensors appear by themselves."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

ONLINE, OFFLINE = "online", "offline"
ON, OFF = "ON", "OFF"
NO_LABEL = "None"
"""What Home Assistant takes for an unknown state."""


@dataclass(frozen=True)
class Topics:
    """Where is published what of a rule at a camera.

    Attributes:
        prefix: of all topics. camera, rule: names.
    """

    prefix: str
    camera: str
    rule: str

    @property
    def base(self) -> str:
        """Of all topics of the rule at the camera."""
        return f"{self.prefix}/{make_slug(self.camera)}/{make_slug(self.rule)}"

    @property
    def state(self) -> str:
        """`ON` while an event goes on, else `OFF`."""
        return f"{self.base}/state"

    @property
    def label(self) -> str:
        """The label of the event that goes on, else `None`."""
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
    """A name as topics and ids may hold it; other names give other slugs."""
    plain = re.sub(r"[^a-zA-Z0-9_-]+", "_", name).strip("_")
    if plain == name:
        return plain
    return f"{plain[:40]}_{sha256(name.encode()).hexdigest()[:6]}"


def describe_sensors(
    topics: Topics, discovery_prefix: str, version: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Topics for discovery and what to publish there: of a binary sensor, a label and a picture."""
    node = make_slug(topics.prefix.replace("/", "_"))
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
