"""Archives on Ray, tested without Ray: what a node receives, and what its engine does with it."""

import dataclasses
import json
import sys
from types import SimpleNamespace

import pyarrow.parquet
import pytest

import co3d.fleet.ray_data
from co3d.errors import MissingPackageError, OptionError, OutputError
from co3d.fleet import RayCluster, label_archive
from co3d.fleet.listing import list_archive
from co3d.fleet.network import open_network
from co3d.fleet.parts import name_part
from co3d.fleet.plan import ArchivePlan

PLAN = ArchivePlan(8.0, "label", backend="torch", at_once=1)


@pytest.fixture
def sent(network, tmp_path, monkeypatch):
    """What a node receives: the network's files, and its identity."""
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get=lambda value: value))
    monkeypatch.setattr("torch.set_num_threads", lambda _: None)
    opened = open_network(network, None, None, None)
    (tmp_path / "scratch").mkdir()
    return opened.pack(tmp_path / "scratch"), opened.identity


def test_an_engine_on_another_node_makes_the_same_rows(sent, network, videos, tmp_path):
    files, identity = sent
    here, there = tmp_path / "here", tmp_path / "there"
    label_archive([videos], here, model=network, backend="torch")
    there.mkdir()
    header = co3d.fleet.ray_data._describe(files, PLAN, identity, 1)
    assert header.encode() == (here / "_archive.json").read_bytes()
    actor = co3d.fleet.ray_data._Actor(files, PLAN, identity, header, there, 1)
    entries = list_archive([videos]).entries
    batch = {"item": [json.dumps(dataclasses.asdict(entry)) for entry in entries]}
    said = [json.loads(text) for row in actor(batch) for text in row["outcome"]]
    assert {one["video_id"] for one in said} == {entry.video_id for entry in entries}
    for video_id in ("a.mp4", "below/a.mkv", "cut.mkv"):
        tables = [pyarrow.parquet.read_table(name_part(f, video_id)) for f in (here, there)]
        assert tables[0].equals(tables[1])
    again = [json.loads(text) for row in actor(batch) for text in row["outcome"]]
    assert sum(one["existed"] for one in again) == 3  # a task that Ray runs again
    actor._worker.stop()


def test_a_node_that_would_make_other_rows_is_refused(sent, tmp_path):
    files, identity = sent
    header = co3d.fleet.ray_data._describe(files, PLAN, identity, 1)
    other = dataclasses.replace(header, settings={**header.settings, "backend": "native"})
    with pytest.raises(OptionError, match=r"it has torch .*, expected native as the archive"):
        co3d.fleet.ray_data._Actor(files, PLAN, identity, other, tmp_path, 1)


def test_a_co3d_error_is_extracted_from_rays_exception():
    wrapped = RuntimeError("a trace of a page")
    wrapped.__cause__ = ValueError("user code")
    wrapped.__cause__.__cause__ = OutputError("cannot write")
    assert co3d.fleet.ray_data._find_own(wrapped) is wrapped.__cause__.__cause__
    assert co3d.fleet.ray_data._find_own(ValueError("a bug")) is None


def test_without_ray_it_says_how_to_get_it(network, videos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingPackageError, match=r"ray is not installed.*\[ray\]"):
        label_archive([videos], tmp_path, model=network, cluster=RayCluster())


def test_placement_out_of_range_is_refused():
    with pytest.raises(OptionError, match="0 cores and 0 cards an engine"):
        RayCluster(cpus=0)
