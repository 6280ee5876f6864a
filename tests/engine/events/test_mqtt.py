"""The MQTT output, against a broker in this process."""

import json
import threading
from dataclasses import replace

import pytest

from co3d.engine.events.outputs import mqtt
from co3d.engine.events.outputs.home_assistant import Topics, make_slug
from co3d.engine.events.outputs.mqtt import MqttOutput
from co3d.engine.events.outputs.output import FailedDeliveryError
from co3d.errors import OutputError
from support.event_samples import end, make_delivery, make_event
from support.mqtt_broker import Broker, serve_mqtt

GOING_ON = threading.Event()
pytest.importorskip("paho.mqtt.client", reason="pip install 'co3d[watch]' brings paho-mqtt")


@pytest.fixture
def broker():
    with serve_mqtt(Broker(users={"me": "secret"})) as broker:
        yield broker


@pytest.fixture(autouse=True)
def quick_reconnection(monkeypatch):
    monkeypatch.setattr(mqtt, "RECONNECT_SECONDS", (0.05, 0.1))


@pytest.fixture
def output(broker):
    output = MqttOutput(
        mqtt.Broker("127.0.0.1", broker.port, "me", "secret"), [("door", "falls")], "1.0"
    )
    yield output
    output.close()


def test_sensors_follow_the_events(broker, output, tmp_path):
    first, second = make_event(), make_event(label="lying")
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "a.jpg").write_bytes(b"a picture")
    topics, states = Topics("co3d", "door", "falls"), []

    def deliver(event, kind, number):
        output.deliver(make_delivery(tmp_path, event, kind, number), GOING_ON)
        states.append((broker.retained[topics.state], broker.retained[topics.label]))

    deliver(first, "start", 1)
    deliver(second, "start", 2)
    deliver(replace(second, picture="a.jpg"), "media", 3)
    deliver(end(first), "end", 4)
    deliver(end(second), "end", 5)
    deliver(end(second), "end", 5)  # which may come again
    assert states == [
        (b"ON", b"falling"),
        (b"ON", b"lying"),
        (b"ON", b"lying"),
        (b"ON", b"lying"),
        (b"OFF", b"None"),
        (b"OFF", b"None"),
    ]
    assert broker.retained[topics.picture] == b"a picture"
    assert json.loads(broker.retained[topics.event])["number"] == 5
    told = [json.loads(text)["number"] for topic, text, _ in broker.published if "events" in topic]
    assert told == [1, 2, 3, 4, 5, 5]
    assert "co3d/events" not in broker.retained


def test_home_assistant_finds_the_sensors(broker, output, tmp_path):
    output.deliver(make_delivery(tmp_path, make_event()), GOING_ON)
    configs = {
        topic.split("/")[1]: json.loads(text)
        for topic, text in broker.retained.items()
        if topic.startswith("homeassistant/")
    }
    assert set(configs) == {"binary_sensor", "sensor", "image"}
    topic = "homeassistant/binary_sensor/co3d/door_falls/config"
    assert json.loads(broker.retained[topic]) == {
        "name": "falls",
        "state_topic": "co3d/door/falls/state",
        "payload_on": "ON",
        "payload_off": "OFF",
        "json_attributes_topic": "co3d/door/falls/event",
        "unique_id": "co3d_door_falls_binary_sensor",
        "availability_topic": "co3d/status",
        "device": {
            "identifiers": ["co3d_door"],
            "name": "door",
            "manufacturer": "co3d",
            "sw_version": "1.0",
        },
        "origin": {"name": "co3d", "sw_version": "1.0"},
    }
    assert configs["sensor"]["state_topic"] == "co3d/door/falls/label"
    assert configs["image"]["image_topic"] == "co3d/door/falls/picture"


def test_sensors_of_removed_rules_are_removed(broker, output, tmp_path):
    kept = "homeassistant/sensor/co3d/door_falls/config"
    others = {"homeassistant/sensor/other/door_falls/config", "homeassistant/sensor/co3d/x/y"}
    gone = "homeassistant/{}/co3d/door_fire/config"
    for topic in (*map(gone.format, ("binary_sensor", "sensor", "image")), kept, *others):
        broker.publish(topic, b'{"name": "of an earlier start"}', retain=True)
    output.deliver(make_delivery(tmp_path, make_event()), GOING_ON)
    broker.wait_for(lambda broker: (gone.format("image"), b"", True) in broker.published)
    broker.wait_for(lambda broker: not any("door_fire" in topic for topic in broker.retained))
    assert others < set(broker.retained)
    assert json.loads(broker.retained[kept])["name"] == "falls label"


def test_the_status_topic_follows_the_connection(broker, output, tmp_path):
    output.deliver(make_delivery(tmp_path, make_event()), GOING_ON)
    assert broker.retained["co3d/status"] == b"online"
    broker.drop_connections()
    broker.wait_for(lambda broker: ("co3d/status", b"offline", True) in broker.published)
    output.close()
    assert broker.retained["co3d/status"] == b"offline"


def test_it_reconnects_by_itself(broker, output, tmp_path, monkeypatch):
    output.deliver(make_delivery(tmp_path, make_event(), number=1), GOING_ON)
    broker.drop_connections()
    broker.wait_for(lambda broker: broker.retained["co3d/status"] == b"offline")
    output.deliver(make_delivery(tmp_path, make_event(), number=2), GOING_ON)
    assert broker.retained["co3d/status"] == b"online"
    told = [json.loads(text)["number"] for topic, text, _ in broker.published if "events" in topic]
    assert told[-1] == 2


def test_an_unacknowledged_record_is_not_delivered(broker, output, tmp_path, monkeypatch):
    monkeypatch.setattr(mqtt, "ACKNOWLEDGED_SECONDS", 0.1)
    broker.acknowledges = False
    with pytest.raises(FailedDeliveryError, match="did not acknowledge"):
        output.deliver(make_delivery(tmp_path, make_event()), GOING_ON)


def test_a_refused_connection_is_an_error(broker, tmp_path, monkeypatch):
    monkeypatch.setattr(mqtt, "CONNECT_SECONDS", 0.3)
    output = MqttOutput(mqtt.Broker("127.0.0.1", broker.port, "me", "wrong"))
    with pytest.raises(OutputError, match=r"refuses the connection .*check its address") as error:
        output.check()
    with pytest.raises(FailedDeliveryError, match="refuses the connection"):
        output.deliver(make_delivery(tmp_path, make_event()), GOING_ON)
    output.close()
    assert "wrong" not in str(error.value) + repr(output._broker)


def test_a_check_publishes_nothing(broker, output):
    output.check()
    assert broker.published == []


def test_different_names_have_different_topics():
    assert make_slug("door-1") == "door-1"
    slugs = {make_slug(name) for name in ("a b", "a_b", "a/b", "a#b", "ä+b")}
    assert len(slugs) == 5
    assert all(set(slug) <= set("abcdef0123456789_-") for slug in slugs)
