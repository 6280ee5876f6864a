"""The section `outputs` of a fleet file."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from co3d.engine.events.courier import RecordFilter
from co3d.engine.events.outputs.command import CommandOutput
from co3d.engine.events.outputs.folder import FolderOutput
from co3d.engine.events.outputs.json_lines import JsonLinesOutput
from co3d.engine.events.outputs.mqtt import Broker, MqttOutput
from co3d.engine.events.outputs.output import Output
from co3d.engine.events.outputs.webhook import WebhookOutput
from co3d.engine.fleet_sections import Name, Names, Positive, Section, fill_in
from co3d.errors import FleetError

Kinds = Annotated[list[Literal["start", "update", "media", "end"]], Field(min_length=1)]
URL = re.compile(r"https?://[^/\s]+.*")


class OutputSection(Section):
    """The options of all outputs. Each subclass has a method `open`, which makes the output.

    The arguments of `open` are the (camera, rule) names whose events it may get, and co3d's
    version. It raises FleetError if a secret is missing or a value is invalid.
    """

    name: Name
    cameras: Names | None = None
    rules: Names | None = None
    kinds: Kinds | None = None

    def to_filter(self) -> RecordFilter:
        """The filter of records for this output."""
        return RecordFilter(self.cameras, self.rules, self.kinds)

    def _fill_in(self, key: str, text: str | None) -> str | None:
        if text is None:
            return None
        return fill_in(text, f"use the output {self.name}: its {key}")


class JsonLinesSection(OutputSection):
    """See `JsonLinesOutput`; without a path it writes to standard output."""

    type: Literal["json"]
    path: Name | None = None

    def open(self, pairs: Iterable[tuple[str, str]], version: str) -> Output:  # noqa: ARG002
        """See `OutputSection`."""
        return JsonLinesOutput(None if self.path is None else Path(self.path))


class FolderSection(OutputSection):
    """See `FolderOutput`."""

    type: Literal["folder"]
    path: Name

    def open(self, pairs: Iterable[tuple[str, str]], version: str) -> Output:  # noqa: ARG002
        """See `OutputSection`."""
        return FolderOutput(Path(self.path))


class CommandSection(OutputSection):
    """See `CommandOutput`."""

    type: Literal["command"]
    command: Names
    limit_seconds: Positive = 30.0
    most_tries: Annotated[int, Field(ge=1)] | None = 10

    def open(self, pairs: Iterable[tuple[str, str]], version: str) -> Output:  # noqa: ARG002
        """See `OutputSection`."""
        return CommandOutput(self.command, self.limit_seconds, self.most_tries)


class WebhookSection(OutputSection):
    """See `WebhookOutput`."""

    type: Literal["webhook"]
    url: Name
    secret: Name | None = None
    headers: dict[Name, str] | None = None

    def open(self, pairs: Iterable[tuple[str, str]], version: str) -> Output:  # noqa: ARG002
        """See `OutputSection`."""
        url = self._fill_in("url", self.url) or ""
        if not URL.fullmatch(url):
            raise FleetError(
                f"cannot use the output {self.name}: its url is no address that begins with "
                "http:// or https://"
            )
        headers = {
            name: self._fill_in("headers", value) or ""
            for name, value in (self.headers or {}).items()
        }
        return WebhookOutput(url, self._fill_in("secret", self.secret), headers)


class MqttSection(OutputSection):
    """See `Broker` and `MqttOutput`."""

    type: Literal["mqtt"]
    host: Name
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    username: Name | None = None
    password: Name | None = None
    tls: bool = False
    ca_file: Name | None = None
    prefix: Annotated[str, Field(pattern=r"^[^#+\s/]+(/[^#+\s/]+)*$")] = "co3d"
    discovery_prefix: Name | None = "homeassistant"

    def open(self, pairs: Iterable[tuple[str, str]], version: str) -> Output:
        """See `OutputSection`."""
        broker = Broker(
            self.host,
            self.port,
            self._fill_in("username", self.username),
            self._fill_in("password", self.password),
            self.tls,
            None if self.ca_file is None else Path(self.ca_file),
            self.prefix,
            self.discovery_prefix,
        )
        return MqttOutput(broker, pairs, version)


AnyOutput = Annotated[
    JsonLinesSection | FolderSection | CommandSection | WebhookSection | MqttSection,
    Field(discriminator="type"),
]
OUTPUT_SECTIONS: dict[str, type[OutputSection]] = {
    "json": JsonLinesSection,
    "folder": FolderSection,
    "command": CommandSection,
    "webhook": WebhookSection,
    "mqtt": MqttSection,
}
