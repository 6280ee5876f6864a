"""An output that publishes records to an MQTT broker, with sensors for Home Assistant."""

import json
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from co3d.engine.events.outputs.home_assistant import (
    NO_LABEL,
    OFF,
    OFFLINE,
    ON,
    ONLINE,
    Topics,
    describe_sensors,
    match_sensors,
)
from co3d.engine.events.outputs.output import Delivery, FailedDeliveryError
from co3d.errors import OutputError
from co3d.packages import require_package

CONNECT_SECONDS = 5.0
ACKNOWLEDGED_SECONDS = 10.0
WAKE_SECONDS = 0.1
RECONNECT_SECONDS = 1, 30
MOST_PICTURE_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Broker:
    """An MQTT broker, and how to connect to it.

    Attributes:
        host, port: its address; port None is 1883, or 8883 with TLS.
        username, password: credentials; None for none.
        uses_tls: whether the connection is encrypted and the broker's certificate checked.
        ca_file: certificates to trust; None for the system's.
        prefix: the prefix of all topics.
        discovery_prefix: Home Assistant's discovery prefix; None for no discovery.
    """

    host: str
    port: int | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    uses_tls: bool = False
    ca_file: Path | None = None
    prefix: str = "co3d"
    discovery_prefix: str | None = "homeassistant"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port or (8883 if self.uses_tls else 1883)


class MqttOutput:
    """Publishes every record to `PREFIX/events`, and retained topics per camera and rule.

    The retained topics (see `Topics`) are `state` (`ON` while an event is open), `label`, `event`
    (the latest record) and `picture`. `PREFIX/status` is `online` while this is connected; the
    broker sets it to `offline` afterwards (last will). All messages have QoS 1, and a record counts
    as delivered when the broker has acknowledged its messages. Sensors under the prefix that were
    announced to Home Assistant before and belong to no rule any more are removed.

    Args:
        broker: the broker.
        rules: (camera, rule) names, for discovery.
        version: co3d's version, for discovery.

    Raises:
        MissingPackageError: paho-mqtt is not installed.
        OutputError: the certificates cannot be read.
    """

    most_tries = None

    def __init__(
        self, broker: Broker, rules: Iterable[tuple[str, str]] = (), version: str = ""
    ) -> None:
        self._broker, self._rules, self._version = broker, sorted(set(rules)), version
        self._open: dict[tuple[str, str], dict[str, str]] = {}  # ids and labels of open events
        self._connected = threading.Event()
        self._refusal = "there is no connection"
        self._client: Any = None
        require_package("paho", extra="watch")

    def check(self) -> None:
        """Connect and disconnect; see `Output`."""
        client = self._make_client()
        try:
            client.loop_start()
            if not self._connected.wait(CONNECT_SECONDS):
                host, port = self._broker.address
                raise OutputError(
                    f"cannot connect to the MQTT broker {host}:{port}: {self._refusal}; check its "
                    "address, user and password"
                )
        finally:
            client.disconnect()
            client.loop_stop()
            self._connected.clear()

    def deliver(self, delivery: Delivery, stopping: threading.Event) -> None:
        """Publish a record, and wait until the broker acknowledges it; see `Output`."""
        if self._client is None:
            self._client = self._make_client(announces=True)
            self._client.loop_start()
        until = time.monotonic() + CONNECT_SECONDS
        while not self._connected.wait(WAKE_SECONDS):
            if stopping.is_set() or time.monotonic() > until:
                host, port = self._broker.address
                raise FailedDeliveryError(f"MQTT broker {host}:{port}: {self._refusal}")
        event = delivery.record.event
        topics = Topics(self._broker.prefix, event.camera, event.rule)
        going = dict(self._open.get((event.camera, event.rule), {}))
        going.pop(event.id, None)
        if event.is_open:
            going[event.id] = event.label
        body = json.dumps(delivery.record.as_dict(), ensure_ascii=False)
        messages: list[tuple[str, str | bytes, bool]] = [
            (topics.event, body, True),
            (topics.label, list(going.values())[-1] if going else NO_LABEL, True),
            (topics.state, ON if going else OFF, True),
            (f"{self._broker.prefix}/events", body, False),
        ]
        picture = delivery.picture if delivery.record.kind == "media" else None
        if picture is not None and picture.stat().st_size <= MOST_PICTURE_BYTES:
            messages.append((topics.picture, picture.read_bytes(), True))
        sent = [self._client.publish(topic, text, 1, retain) for topic, text, retain in messages]
        self._wait(sent, stopping)
        self._open[event.camera, event.rule] = going

    def close(self) -> None:
        """Publish `offline`, and disconnect."""
        client, self._client = self._client, None
        if client is None:
            return
        if self._connected.is_set():
            told = client.publish(f"{self._broker.prefix}/status", OFFLINE, 1, retain=True)
            until = time.monotonic() + 0.5
            while not told.is_published() and time.monotonic() < until:
                time.sleep(0.01)
        client.disconnect()
        client.loop_stop()

    def _wait(self, sent: list[Any], stopping: threading.Event) -> None:
        """Wait until the broker has acknowledged messages."""
        until = time.monotonic() + ACKNOWLEDGED_SECONDS
        for message in sent:
            while True:
                if message.rc not in (0, 4):  # 4: no connection; it is sent after reconnecting
                    raise FailedDeliveryError(f"the broker did not take it (code {message.rc})")
                if message.is_published():
                    break
                if stopping.is_set() or time.monotonic() > until:
                    raise FailedDeliveryError("the broker did not acknowledge it in time")
                time.sleep(0.005)

    def _make_client(self, *, announces: bool = False) -> Any:
        from paho.mqtt import client as mqtt
        from paho.mqtt.enums import CallbackAPIVersion

        broker = self._broker
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.connect_timeout = CONNECT_SECONDS
        client.reconnect_delay_set(*RECONNECT_SECONDS)
        if broker.username is not None:
            client.username_pw_set(broker.username, broker.password)
        if broker.uses_tls:
            try:
                client.tls_set(None if broker.ca_file is None else str(broker.ca_file))
            except OSError as error:
                raise OutputError(f"cannot read {broker.ca_file}: {error}") from error
        if announces:
            client.will_set(f"{broker.prefix}/status", OFFLINE, 1, retain=True)

        def on_connect(client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
            if reason.is_failure:
                self._refusal = f"it refuses the connection ({reason})"
                return
            if announces:
                self._announce(client)
            self._connected.set()

        def on_disconnect(
            _client: Any, _data: Any, _flags: Any, _reason: Any, _properties: Any
        ) -> None:
            self._connected.clear()

        client.on_connect, client.on_disconnect = on_connect, on_disconnect
        client.connect_async(*broker.address)
        return client

    def _announce(self, client: Any) -> None:
        """Publish the sensors and `online`, and remove sensors of former rules."""
        broker, announced = self._broker, set[str]()
        for camera, rule in self._rules:
            topics = Topics(broker.prefix, camera, rule)
            if broker.discovery_prefix is not None:
                for topic, config in describe_sensors(
                    topics, broker.discovery_prefix, self._version
                ):
                    announced.add(topic)
                    client.publish(topic, json.dumps(config), 1, retain=True)
            if (camera, rule) not in self._open:
                client.publish(topics.state, OFF, 1, retain=True)
        client.publish(f"{broker.prefix}/status", ONLINE, 1, retain=True)
        if broker.discovery_prefix is None:
            return

        def remove(client: Any, _data: Any, message: Any) -> None:
            if message.retain and message.payload and message.topic not in announced:
                client.publish(message.topic, b"", 1, retain=True)

        client.on_message = remove
        client.subscribe(match_sensors(broker.prefix, broker.discovery_prefix), 1)
