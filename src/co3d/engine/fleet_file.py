"""Reads `fleet.yaml`: a network, the cameras that it labels, rules for events, and outputs."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, PrivateAttr, ValidationError

from co3d.engine.camera import Camera
from co3d.engine.events import Rule
from co3d.engine.events.rule_book import explain_unknown_label
from co3d.engine.fleet_capacity import CapacitySection
from co3d.engine.fleet_outputs import OUTPUT_SECTIONS, AnyOutput, MqttSection, OutputSection
from co3d.engine.fleet_rules import ClipSection, EventsSection, RuleSection, SpanSection
from co3d.engine.fleet_sections import (
    AtLeastZero,
    Count,
    Fraction,
    Name,
    Positive,
    Rectangle,
    Section,
    fill_in,
)
from co3d.errors import FleetError
from co3d.models.labels import read_label_file
from co3d.printable import list_first, short_repr
from co3d.video import hide_password
from co3d.video.hardware import check_decode
from co3d.yaml_faults import YAML_FAULTS

MAX_BYTES = 1 << 18
_MOST_COMPLAINTS, _SHOWN = 20, 300


class NetworkSection(Section):
    """The network; options as for `co3d stream`, `labels` is a file with a class name a line."""

    model: str = "camera_motion"
    weights: str | None = None
    labels: str | None = None
    window: Count | None = None
    backend: str = "auto"
    precision: str | None = None
    device: str = "cpu"

    def list_keywords(self) -> dict[str, Any]:
        """The keywords of `open_engine`.

        Raises:
            OptionError: the file of names cannot be read.
        """
        names = self.labels and read_label_file(Path(self.labels), "network.labels")
        return {**self.model_dump(), "labels": names}


def _read_off(value: Any) -> Any:
    """Restore the word `off`, which YAML reads as false."""
    return "off" if value is False else value


class CameraSettings(Section):
    """The options of `defaults` and of each camera; see `co3d.engine.camera.Camera`."""

    rate_hz: Positive | None = None
    policy: Literal["latest", "every"] | None = None
    priority: int | None = None
    gap: Literal["keep", "reset"] | None = None
    rotate: Literal[0, 90, 180, 270] | None = None
    flip: Literal["horizontal", "vertical"] | None = None
    crop: Rectangle | None = None
    reconnect_seconds: AtLeastZero | None = None
    rtsp_transport: Literal["auto", "tcp", "udp"] | None = None
    poll_hz: Positive | None = None
    folder_rate_hz: Positive | None = None
    decode: Annotated[str, AfterValidator(check_decode)] | None = None
    tls: Annotated[Literal["verify", "off"] | None, BeforeValidator(_read_off)] = None
    ca_file: Name | None = None
    top: Count | None = None
    threshold: Fraction | None = None
    smooth_seconds: AtLeastZero | None = None


class CameraSection(CameraSettings):
    """A camera."""

    name: Name
    source: str | int


class FleetFile(Section):
    """The whole file."""

    network: NetworkSection = NetworkSection()
    defaults: CameraSettings = CameraSettings()
    cameras: Annotated[list[CameraSection], Field(min_length=1)]
    rules: list[RuleSection] = Field(default_factory=list)
    outputs: list[AnyOutput] = Field(default_factory=list)
    events: EventsSection = EventsSection()
    capacity: CapacitySection = CapacitySection()
    _path: Path = PrivateAttr(default=Path())
    _node: Any = PrivateAttr(default=None)

    def take_part(self, number: int, count: int) -> "FleetFile":
        """The fleet of one of several processes: every `count`-th camera, from `number` (1: first).

        Events get a folder of their own below that of the file, and the topics of MQTT a level,
        since each process has its own outbox and its own state.

        Raises:
            FleetError: there are fewer cameras than processes.
        """
        if count > len(self.cameras):
            raise FleetError(
                f"cannot use {self._path} in {count} parts: it has {len(self.cameras)} cameras; "
                "start as many processes at most"
            )
        outputs = [
            output.model_copy(update={"prefix": f"{output.prefix}/{number}"})
            if isinstance(output, MqttSection)
            else output
            for output in self.outputs
        ]
        folder = str(self.events.path / f"part-{number}-of-{count}")
        events = self.events.model_copy(update={"folder": folder})
        cameras = self.cameras[number - 1 :: count]
        return self.model_copy(update={"cameras": cameras, "outputs": outputs, "events": events})

    def list_rules(self) -> list[Rule]:
        """The rules."""
        return [rule.to_rule() for rule in self.rules]

    def list_pairs(self, output: OutputSection) -> list[tuple[str, str]]:
        """The (camera, rule) names whose events an output may get."""
        return [
            (camera.name, rule.name)
            for camera in self.cameras
            for rule in self.rules
            if (rule.cameras is None or camera.name in rule.cameras)
            and (output.cameras is None or camera.name in output.cameras)
            and (output.rules is None or rule.name in output.rules)
        ]

    def check_labels(self, labels: Sequence[str]) -> None:
        """Check that the network has the rules' labels.

        Raises:
            FleetError: the message names the line.
        """
        for number, rule in enumerate(self.rules):
            places: list[tuple[tuple[str | int, ...], str]] = [
                (("labels", place), label) for place, label in enumerate(rule.labels or ())
            ]
            for group, members in (rule.groups or {}).items():
                places += [(("groups", group, at), label) for at, label in enumerate(members)]
            for place, label in places:
                if label not in labels:
                    raise self._make_error(
                        ("rules", number, *place), explain_unknown_label(label, labels)
                    )

    def _check_names(self) -> None:
        """Check that names are unique, and that referenced names exist.

        Raises:
            FleetError: the message names the line.
        """
        known: dict[str, list[str]] = {}
        for kind, sections in (
            ("camera", self.cameras),
            ("rule", self.rules),
            ("output", self.outputs),
        ):
            names = known[kind] = [section.name for section in sections]
            for number, name in enumerate(names):
                if name in names[:number]:
                    raise self._make_error(
                        (f"{kind}s", number, "name"), f"a second {kind} named {name!r}"
                    )
        for name in self.capacity.counts:
            if name not in known["camera"]:
                raise self._make_error(
                    ("capacity", "counts", name),
                    f"there is no camera {name!r}; known are {list_first(known['camera'])}",
                )
        for user, sections in (("rules", self.rules), ("outputs", self.outputs)):
            for number, section in enumerate(sections):
                for kind in ("camera", "rule"):
                    for name in getattr(section, f"{kind}s", None) or ():
                        if name not in known[kind]:
                            raise self._make_error(
                                (user, number, f"{kind}s"),
                                f"there is no {kind} {name!r}; known are {list_first(known[kind])}",
                            )

    def _make_error(self, location: Sequence[str | int], said: str) -> FleetError:
        line = _find_line(self._node, location)
        return FleetError(f"cannot use {self._path}: line {line}: {said}")

    def list_cameras(self) -> list[Camera]:
        """The cameras, with defaults and secrets filled in.

        Raises:
            FleetError: a secret is missing.
        """
        return [self._complete(camera) for camera in self.cameras]

    def _complete(self, camera: CameraSection) -> Camera:
        settings = self.defaults.model_dump(exclude_none=True)
        settings |= camera.model_dump(exclude_none=True)
        user = f"open camera {camera.name}: its source"
        settings["source"] = fill_in(str(camera.source), user)
        settings["regions"] = tuple(
            dict.fromkeys(
                rule.region
                for rule in self.list_rules()
                if rule.region is not None and (rule.cameras is None or camera.name in rule.cameras)
            )
        )
        if settings.get("tls") == "off" and camera.ca_file is None:
            settings.pop("ca_file", None)  # from `defaults`, meant for other cameras
        if "crop" in settings:
            settings["crop"] = tuple(settings["crop"])
        if "top" in settings:
            settings["top_k"] = settings.pop("top")
        return Camera(**settings)


def read_fleet(path: Path) -> FleetFile:
    """Read and check a fleet file.

    Raises:
        FleetError: it cannot be read, is not YAML, has an unknown key, an invalid value or two
            cameras of one name; the message names the line.
    """
    text = _read_text(path)
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            # Nested aliases can expand a few lines to more values than memory holds.
            raise FleetError(f"cannot use {path}: it has aliases (*name); write values out")
        node = yaml.compose(text, yaml.SafeLoader)
        values = yaml.safe_load(text)
    except YAML_FAULTS as error:
        reason = " ".join(str(error).split())[:_SHOWN]
        raise FleetError(f"cannot use {path}: no YAML: {reason}") from error
    if not isinstance(values, dict):
        raise FleetError(
            f"cannot use {path}: got a {type(values).__name__}, expected `cameras:` and a list"
        )
    try:
        fleet = FleetFile.model_validate(values)
    except ValidationError as error:
        complaints = dict.fromkeys(_explain(error, node))
        raise FleetError(f"cannot use {path}: {'; '.join(complaints)}") from error
    fleet._path, fleet._node = path, node
    fleet._check_names()
    return fleet


def _read_text(path: Path) -> str:
    try:
        if not path.is_file():
            raise FleetError(f"cannot read {path}: no such file; name a YAML file of cameras")
        if path.stat().st_size > MAX_BYTES:
            raise FleetError(f"cannot use {path}: got more than {MAX_BYTES} bytes")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FleetError(f"cannot read {path}: {error}; check the file") from error


SECTIONS: dict[tuple[str, ...], type[BaseModel]] = {
    (): FleetFile,
    ("network",): NetworkSection,
    ("defaults",): CameraSettings,
    ("cameras",): CameraSection,
    ("rules",): RuleSection,
    ("rules", "schedule"): SpanSection,
    ("rules", "clip"): ClipSection,
    ("events",): EventsSection,
    ("capacity",): CapacitySection,
}
"""The class of each section, by its path of keys. The class of an output depends on its type."""


def _explain(error: ValidationError, node: Any) -> Iterator[str]:
    complaints = error.errors(include_url=False, include_input=True)
    if len(complaints) > _MOST_COMPLAINTS:
        yield f"{len(complaints)} mistakes, the first of which are"
    for complaint in complaints[:_MOST_COMPLAINTS]:
        location = complaint["loc"]
        line = _find_line(node, location)
        shown = [*location[:2], *location[3:]] if location[0] == "outputs" else location
        key = hide_password(".".join(str(part) for part in shown))[:_SHOWN]
        if complaint["type"] == "extra_forbidden":
            known = _list_keys(location[:-1])
            nearest = get_close_matches(str(location[-1])[:_SHOWN], known, n=1, cutoff=0.5)
            meant = f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(known)}"
            yield f"line {line}: unknown key {key}: {meant}"
        elif complaint["type"] == "missing":
            yield f"line {line}: {key} is missing"
        elif "source" in location:
            yield f"line {line}: {key}: expected an address, a path or a camera's number"
        elif complaint["type"] == "value_error":
            yield f"line {line}: {key}: {complaint['msg'].removeprefix('Value error, ')}"
        elif complaint["type"].startswith("union_tag"):
            yield f"line {line}: {key}.type: expected one of {', '.join(OUTPUT_SECTIONS)}"
        else:
            expected = complaint["msg"].removeprefix("Input should be ")
            yield f"line {line}: {key}: got {_show(complaint['input'])}, expected {expected}"


def _show(value: object) -> str:
    """A value for a message: short, and without a password."""
    if isinstance(value, dict | list):
        return "a section" if isinstance(value, dict) else "a list"
    return hide_password(short_repr(value))


def _list_keys(location: Sequence[str | int]) -> list[str]:
    """The keys that a section may have."""
    place = tuple(part for part in location if isinstance(part, str))
    section = OUTPUT_SECTIONS[place[1]] if place[:1] == ("outputs",) else SECTIONS[place]
    return [field.alias or name for name, field in section.model_fields.items()]


def _find_line(node: Any, location: Sequence[str | int]) -> int:
    """The line, from 1, of the innermost key or item of a location that is in the file."""
    line = 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pairs = {key.value: (key, value) for key, value in node.value}
            if part not in pairs:
                continue  # an output's type, which pydantic adds, or a missing key
            key, node = pairs[part]
            line = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line
