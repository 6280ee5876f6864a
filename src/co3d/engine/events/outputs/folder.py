"""An output that writes a folder for each event: its JSON, picture and clip."""

import json
import re
import shutil
import threading
from datetime import datetime, timezone
from pathlib import Path

from co3d.engine.events.event import Event
from co3d.engine.events.outputs.output import Delivery, FailedDeliveryError
from co3d.errors import OutputError
from co3d.files import make_folder, output_file

EVENT_NAME, PICTURE_NAME, CLIP_NAME = "event.json", "picture.jpg", "clip.mkv"


class FolderOutput:
    """Writes `event.json`, `picture.jpg` and `clip.mkv` to a folder per event.

    Files are written atomically, and `event.json` last, so that the files that it names exist.

    Args:
        folder: the parent of the events' folders; created if absent.
    """

    most_tries = None

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def check(self) -> None:
        """Write an empty file and remove it; see `Output`."""
        make_folder(self._folder)
        probe = self._folder / ".co3d-check"
        with output_file(probe, "choose another folder for events"):
            pass
        probe.unlink(missing_ok=True)

    def deliver(self, delivery: Delivery, stopping: threading.Event) -> None:  # noqa: ARG002
        """Update the event's folder; see `Output`."""
        event = delivery.record.event
        target = self._folder / name_folder(event)
        values = delivery.record.as_dict()
        try:
            target.mkdir(parents=True, exist_ok=True)
            for key, name, source in (
                ("picture", PICTURE_NAME, delivery.picture),
                ("clip", CLIP_NAME, delivery.clip),
            ):
                if source is not None and not (target / name).exists():
                    with output_file(target / name) as temporary:
                        shutil.copyfile(source, temporary)
                values[key] = name if (target / name).exists() else None
            with output_file(target / EVENT_NAME) as temporary:
                temporary.write_text(json.dumps(values, ensure_ascii=False, indent=2) + "\n")
        except (OSError, OutputError) as error:
            raise FailedDeliveryError(str(error)) from error

    def close(self) -> None:
        """Nothing is held open."""


def name_folder(event: Event) -> str:
    """Name an event's folder by its start, camera, rule and id."""
    if event.start_unix_seconds is None:
        began = f"{event.start_pts_seconds:012.3f}s"
    else:
        moment = datetime.fromtimestamp(event.start_unix_seconds, timezone.utc)
        began = f"{moment:%Y-%m-%dT%H-%M-%SZ}"
    plain = [re.sub(r"[^\w.-]+", "_", name)[:40] for name in (event.camera, event.rule)]
    return "_".join((began, *plain, event.id))
