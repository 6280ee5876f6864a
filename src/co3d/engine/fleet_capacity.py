"""The section `capacity` of a fleet file: the planned size of a fleet, for `co3d capacity`."""

from typing import Annotated

from pydantic import Field

from co3d.engine.fleet_sections import AtLeastZero, Count, Name, Positive, Section


class CapacitySection(Section):
    """The size of a fleet of cameras like those of the file.

    Attributes:
        sites: how many places have these cameras.
        counts: camera name -> how many such cameras a site has; 1 for others.
        cores: cores per machine; None for as many as this one has.
        bit_rate_kbps: assumed for cameras whose source does not tell it.
        events_per_day: per camera. clip_seconds: video that is kept per event.
        records: whether all video is kept, not just that of events.
    """

    sites: Count = 1
    counts: dict[Name, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    cores: Count | None = None
    bit_rate_kbps: Positive | None = None
    events_per_day: AtLeastZero = 0.0
    clip_seconds: AtLeastZero = 10.0
    records: bool = False
