"""The sections `rules`, `outputs` and `events` of a fleet file."""

from pathlib import Path

import pytest

from co3d.engine.camera import Camera
from co3d.engine.events import ClipSpan, Retention, Rule, Schedule, Span
from co3d.engine.events.courier import RecordFilter
from co3d.engine.events.outputs.webhook import WebhookOutput
from co3d.engine.fleet_file import read_fleet
from co3d.errors import FleetError

FLEET = """\
cameras:
  - {name: door, source: "0"}
  - {name: yard, source: "1"}
rules:
  - name: falls
    labels: [falling]
    groups:
      moving: [walking, running]
    cameras: [door]
    threshold: 0.7
    end_threshold: 0.5
    min_seconds: 1
    cooldown_seconds: 30
    hold_seconds: 3
    smooth_seconds: 2
    smoothing: moving
    region: [0, 0, 320, 240]
    schedule:
      - {days: [fri, sat], from: 22:00, to: "06:30"}
      - {from: "8:00", to: 9:00}
    time_zone: Europe/Berlin
    update_seconds: null
    picture: false
    clip: {before_seconds: 2, most_seconds: 20}
  - {name: any, labels: [falling]}
outputs:
  - {name: lines, type: json}
  - name: hook
    type: webhook
    url: https://example.org/${TOKEN}
    secret: ${KEY}
    headers: {Authorization: "Bearer ${KEY}"}
    rules: [falls]
    kinds: [start, end]
events: {folder: kept, keep_days: 7, most_bytes: 1000000}
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "fleet.yaml"
        path.write_text(text)
        return path

    return write


def test_rules_are_read(write):
    fleet = read_fleet(write(FLEET))
    falls, anything = fleet.list_rules()
    assert falls == Rule(
        "falls",
        ("falling",),
        {"moving": ("walking", "running")},
        threshold=0.7,
        end_threshold=0.5,
        min_seconds=1,
        cooldown_seconds=30,
        hold_seconds=3,
        smooth_seconds=2,
        smoothing="moving",
        schedule=Schedule(
            (Span(22 * 60, 6 * 60 + 30, ("fri", "sat")), Span(8 * 60, 9 * 60)), "Europe/Berlin"
        ),
        cameras=("door",),
        region=(0, 0, 320, 240),
        update_seconds=None,
        has_picture=False,
        clip=ClipSpan(2, 5, 20),
    )
    assert anything == Rule("any", ("falling",))
    assert fleet.events.to_retention() == Retention(7, 1_000_000)
    assert fleet.events.path == Path("kept")
    assert fleet.list_cameras() == [
        Camera("door", "0", regions=((0, 0, 320, 240),)), Camera("yard", "1")
    ]  # fmt: skip


def test_outputs_are_read_with_their_secrets(write, monkeypatch):
    monkeypatch.setenv("TOKEN", "a/b")
    monkeypatch.setenv("KEY", "s3cret")
    fleet = read_fleet(write(FLEET))
    _, hook = fleet.outputs
    assert hook.to_filter() == RecordFilter(None, ["falls"], ["start", "end"])
    assert fleet.list_pairs(hook) == [("door", "falls")]
    assert fleet.list_pairs(fleet.outputs[0]) == [
        ("door", "falls"), ("door", "any"), ("yard", "any")
    ]  # fmt: skip
    output = hook.open((), "")
    assert isinstance(output, WebhookOutput)
    assert output._url == "https://example.org/a%2Fb"
    assert (output._secret, output._headers) == ("s3cret", {"Authorization": "Bearer s3cret"})
    output.close()
    assert "s3cret" not in repr(fleet) + repr(output)


def test_a_missing_secret_of_an_output_is_named(write, monkeypatch):
    monkeypatch.delenv("TOKEN", raising=False)
    hook = read_fleet(write(FLEET)).outputs[1]
    with pytest.raises(FleetError, match=r"use the output hook: its url .*variable 'TOKEN'"):
        hook.open((), "")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("threshold: 0.7", "treshold: 0.7", "line 10: unknown key rules.0.treshold: did you mean"),
        ("threshold: 0.7", "threshold: 0.3", "line 5: rules.0: .*0 to `threshold`, which is 0.3"),
        ("min_seconds: 1", "min_seconds: -1", "line 12: rules.0.min_seconds: got -1"),
        ("labels: [falling]\n    groups", "cameras_: 1\n    groups", "line 6: unknown key"),
        ("from: 22:00", "from: 25:00", "line 19: rules.0.schedule.0.from: got 1500, expected less"),
        ("from: 22:00", "from: 10pm", "line 19: rules.0.schedule.0.from: a time of day such as"),
        ("from: 22:00, ", "", "line 19: rules.0.schedule.0.from is missing"),
        ("fri, sat", "fri, sam", "line 19: rules.0.schedule.0.days.1: got 'sam', expected 'mon'"),
        ("Europe/Berlin", "Europe/Berln", "line 5: rules.0: got the time zone 'Europe/Berln'"),
        ("    region: [0, 0, 320, 240]", "    region: [0, 0]", "line 17: rules.0.region: got a li"),
        ("before_sec", "befor_sec", "line 24: unknown key rules.0.clip.befor_seconds: did you me"),
        (
            "cameras: [door]",
            "cameras: [dor]",
            "line 9: there is no camera 'dor'; known are door",
        ),
        ("name: any", "name: falls", "line 25: a second rule named 'falls'"),
        ("name: lines", "name: hook", "line 28: a second output named 'hook'"),
        ("rules: [falls]", "rules: [fall]", "line 33: there is no rule 'fall'"),
        ("type: json", "type: jsonl", "line 27: outputs.0.type: expected one of json, folder, com"),
        ("type: json", "typ: json", "line 27: outputs.0.type: expected one of json, folder"),
        (
            "    secret: ",
            "    secre: ",
            "line 31: unknown key outputs.1.secre: did you mean",
        ),
        (
            "kinds: [start",
            "kinds: [begin",
            "line 34: outputs.1.kinds.0: got 'begin'",
        ),
        ("keep_days: 7", "keep_days: 0", "line 35: events.keep_days: got 0, expected greater than"),
        ("folder: kept", "foldr: kept", "line 35: unknown key events.foldr: did you mean folder"),
    ],
)
def test_mistakes_name_line_and_key(write, old, new, said):
    assert old in FLEET
    with pytest.raises(FleetError, match=said):
        read_fleet(write(FLEET.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (("falling", "running"), "line 8: the network has no label 'walking'"),
        (("walking", "running"), "line 6: the network has no label 'falling'"),
    ],
)
def test_errors_for_unknown_labels_name_the_line(write, labels, said):
    fleet = read_fleet(write(FLEET))
    fleet.check_labels(("falling", "walking", "running"))
    with pytest.raises(FleetError, match=said):
        fleet.check_labels(labels)


def test_a_webhook_needs_an_address(write, monkeypatch):
    monkeypatch.setenv("TOKEN", "x")
    hook = read_fleet(write(FLEET.replace("https://", "ftp://"))).outputs[1]
    with pytest.raises(FleetError, match="output hook: its url is no address"):
        hook.open((), "")
