"""`fleet.yaml`: a network, the cameras that it labels, and what becomes of events."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, PrivateAttr, ValidationError

from co3d.engine.cameras import Camera
from co3d.engine.events import Rule
from co3d.engine.events.rule_book import explain_unknown_label
from co3d.engine.fleet_outputs import OUTPUT_SECTIONS, AnyOutput, OutputSection
from co3d.engine.fleet_rules import ClipSection, EventsSection, RuleSection, SpanSection
from co3d.engine.fleet_sections import (
    AtLeastZero,
    Count,
    Name,
    Positive,
    Rectangle,
    Section,
    Share,
    fill_in,
)
from co3d.errors import FleetError
from co3d.printable import list_first, spell_short
from co3d.video import hide_password
from co3d.yaml_faults import YAML_FAULTS

MAX_BYTES = 1 << 18
_MOST_COMPLAINTS, _SHOWN = 20, 300


class NetworkSection(Section):
    """The network, as for `co3d stream`."""

    model: str = "camera_motion"
    weights: str | None = None
    window: Count | None = None
    backend: str = "auto"
    precision: str | None = None
    device: str = "cpu"


class CameraSettings(Section):
    """What `defaults` and each camera may say; see `co3d.engine.cameras.Camera`."""

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
    top: Count | None = None
    threshold: Share | None = None
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
    _path: Path = PrivateAttr(default=Path())
    _node: Any = PrivateAttr(default=None)

    def list_rules(self) -> list[Rule]:
        """The rules."""
        return [rule.to_rule() for rule in self.rules]

    def list_pairs(self, output: OutputSection) -> list[tuple[str, str]]:
        """(camera, rule) names of which an output may get events."""
        return [
            (camera.name, rule.name)
            for camera in self.cameras
            for rule in self.rules
            if (rule.cameras is None or camera.name in rule.cameras)
            and (output.cameras is None or camera.name in output.cameras)
            and (output.rules is None or rule.name in output.rules)
        ]

    def check_labels(self, labels: Sequence[str]) -> None:
        """Refuse rules about labels that the network has not.

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
        """Refuse names that come twice, and names that are nowhere.

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
            FleetError: a secret is not there.
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
        if "crop" in settings:
            settings["crop"] = tuple(settings["crop"])
        if "top" in settings:
            settings["top_k"] = settings.pop("top")
        return Camera(**settings)


def read_fleet(path: Path) -> FleetFile:
    """Read and check a fleet file.

    Raises:
        FleetError: it cannot be read, is no YAML, has an unknown key or a value that cannot work,
            or two cameras of one name; the message names the line.
    """
    text = _read_text(path)
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            # A few lines of them stand for more values than memory holds.
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
}
"""By the keys that lead there; those of outputs depend on their type."""


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
    """A value as a message may show it: short, and without a password."""
    if isinstance(value, dict | list):
        return "a section" if isinstance(value, dict) else "a list"
    return hide_password(spell_short(value))


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
                continue  # the type of an output, or a key that is missing
            key, node = pairs[part]
            line = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line
