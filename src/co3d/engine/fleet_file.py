"""`fleet.yaml`: a network and the cameras that it labels."""

import os
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from co3d.engine.camera import Camera
from co3d.errors import FleetError
from co3d.files import read_small
from co3d.printable import spell_short
from co3d.video import hide_password
from co3d.yaml_faults import YAML_FAULTS

MAX_BYTES = 1 << 18
MAX_SECRET_BYTES = 1 << 16
_MOST_COMPLAINTS, _SHOWN = 20, 300
# ${NAME} is an environment variable, ${file:PATH} the first line of a file.
REFERENCE = re.compile(r"\$\{(file:)?([^}]*)\}")

Positive = Annotated[float, Field(gt=0)]
AtLeastZero = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of the file: no unknown keys, no silent conversions, no changes afterwards."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


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
    crop: Annotated[list[int], Field(min_length=4, max_length=4)] | None = None
    reconnect_seconds: AtLeastZero | None = None
    rtsp_transport: Literal["auto", "tcp", "udp"] | None = None
    poll_hz: Positive | None = None
    folder_rate_hz: Positive | None = None
    top: Count | None = None
    threshold: Share | None = None
    smooth_seconds: AtLeastZero | None = None


class CameraSection(CameraSettings):
    """A camera."""

    name: Annotated[str, Field(min_length=1)]
    source: str | int


class FleetFile(Section):
    """The whole file."""

    network: NetworkSection = NetworkSection()
    defaults: CameraSettings = CameraSettings()
    cameras: Annotated[list[CameraSection], Field(min_length=1)]

    def list_cameras(self) -> list[Camera]:
        """The cameras, with defaults and secrets filled in.

        Raises:
            FleetError: a secret is not there.
        """
        return [self._complete(camera) for camera in self.cameras]

    def _complete(self, camera: CameraSection) -> Camera:
        settings = self.defaults.model_dump(exclude_none=True)
        settings |= camera.model_dump(exclude_none=True)
        settings["source"] = _fill_in(str(camera.source), camera.name)
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
    names = [camera.name for camera in fleet.cameras]
    for number, name in enumerate(names):
        if name in names[:number]:
            line = _find_line(node, ("cameras", number, "name"))
            raise FleetError(f"cannot use {path}: line {line}: a second camera named {name!r}")
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


def _fill_in(source: str, camera: str) -> str:
    """A source with the secrets of which it speaks, percent-encoded inside of an address."""

    def find(match: "re.Match[str]") -> str:
        is_file, name = match.groups()
        try:
            secret = _read_secret(Path(name)) if is_file else os.environ[name]
        except (KeyError, OSError, ValueError) as error:
            kind = "file" if is_file else "environment variable"
            is_absent = isinstance(error, KeyError | FileNotFoundError)
            reason = "is not there; set it" if is_absent else f"cannot be read: {error}"
            raise FleetError(
                f"cannot open camera {camera}: its source speaks of the {kind} {name!r}, which "
                + reason
            ) from error
        return quote(secret, safe="") if "://" in source[: match.start()] else secret

    return REFERENCE.sub(find, source)


def _read_secret(path: Path) -> str:
    """The first line of a file."""
    return read_small(path, MAX_SECRET_BYTES).decode().split("\n")[0].rstrip("\r")


def _explain(error: ValidationError, node: Any) -> Iterator[str]:
    complaints = error.errors(include_url=False, include_input=True)
    if len(complaints) > _MOST_COMPLAINTS:
        yield f"{len(complaints)} mistakes, the first of which are"
    for complaint in complaints[:_MOST_COMPLAINTS]:
        location = complaint["loc"]
        line = _find_line(node, location)
        key = hide_password(".".join(str(part) for part in location))[:_SHOWN]
        if complaint["type"] == "extra_forbidden":
            known = _list_keys(location[:-1])
            nearest = get_close_matches(str(location[-1])[:_SHOWN], known, n=1, cutoff=0.5)
            meant = f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(known)}"
            yield f"line {line}: unknown key {key}: {meant}"
        elif complaint["type"] == "missing":
            yield f"line {line}: {key} is missing"
        elif "source" in location:
            yield f"line {line}: {key}: expected an address, a path or a camera's number"
        else:
            expected = complaint["msg"].removeprefix("Input should be ")
            yield f"line {line}: {key}: got {_show(complaint['input'])}, expected {expected}"


def _show(value: object) -> str:
    """A value as a message may show it: short, and without a password."""
    if isinstance(value, dict | list):
        return "a section" if isinstance(value, dict) else "a list"
    return hide_password(spell_short(value))


def _list_keys(location: Sequence[str | int]) -> list[str]:
    section: type[BaseModel] = FleetFile
    if location:
        section = {
            "network": NetworkSection,
            "defaults": CameraSettings,
            "cameras": CameraSection,
        }[str(location[0])]
    return list(section.model_fields)


def _find_line(node: Any, location: Sequence[str | int]) -> int:
    """The line, from 1, of the innermost key or item of a location that is in the file."""
    line = 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pairs = {key.value: (key, value) for key, value in node.value}
            if part not in pairs:
                break
            key, node = pairs[part]
            line = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line
