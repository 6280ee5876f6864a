"""`label_archive` writes the rows of `label_video`, a file per video, whatever interrupts it."""

import json
import shutil

import numpy as np
import pyarrow.dataset
import pyarrow.parquet
import pytest
import torch

import co3d
from co3d.errors import DamagedVideoError, OptionError, OutputError
from co3d.evaluation.layer import LayerFeatures
from co3d.fleet import label_archive
from co3d.fleet.parts import PartWriter, name_part
from co3d.video import read_video

LABELLED = ("a.mp4", "below/a.mkv", "cut.mkv")


@pytest.fixture(scope="module")
def archive(videos, network, tmp_path_factory):
    """The archive of all videos, and its report."""
    folder = tmp_path_factory.mktemp("labels")
    return folder, label_archive([videos], folder, model=network, backend="torch")


def read_rows(folder, video_id):
    return pyarrow.parquet.read_table(name_part(folder, video_id)).to_pylist()


def list_expected(network, path):
    """(time, label, probability) of each moment, up to the damage of a damaged video."""
    moments = []
    try:
        for made in co3d.label_video(path, model=network, backend="torch"):
            moments.append((made.pts_seconds, made.label, made.probability))
    except DamagedVideoError:
        pass
    return moments


def test_rows_are_those_of_label_video(archive, network, videos):
    folder, report = archive
    counts = {}
    for video_id in LABELLED:
        rows = read_rows(folder, video_id)
        found = [(row["pts_seconds"], row["label"], row["probability"]) for row in rows]
        assert found == list_expected(network, videos / video_id)
        assert {row["video"] for row in rows} == {video_id}
        counts[video_id] = len(rows)
    assert counts["a.mp4"] == 9  # 12 frames at 8/s, of which the first three fill the clip
    assert (report.videos, report.labelled, report.resumed) == (5, 3, 0)
    assert report.rows == sum(counts.values())


def test_a_parquet_reader_reads_the_whole_folder(archive):
    folder, report = archive
    table = pyarrow.dataset.dataset(folder).to_table()
    assert table.column_names == ["video", "pts_seconds", "label", "probability"]
    assert table.num_rows == report.rows
    assert set(table["video"].to_pylist()) == set(LABELLED)


def test_bad_videos_are_reported_and_do_not_end_the_run(archive):
    folder, report = archive
    assert list(report.bad) == ["cut.mkv", "none.mp4", "short.mp4"]
    assert report.bad["cut.mkv"].startswith("DamagedVideoError: ")
    assert report.bad["none.mp4"].startswith("NotAVideoError: ")
    assert "short.mp4 has 2 frames at 8/s, and the network needs 4" in report.bad["short.mp4"]
    assert json.loads((folder / "_report.json").read_text())["bad"] == report.bad


def test_the_same_call_labels_the_remaining_videos(archive, network, videos, tmp_path, monkeypatch):
    folder = tmp_path / "labels"
    shutil.copytree(archive[0], folder)
    name_part(folder, "a.mp4").unlink()
    cut = name_part(folder, "below/a.mkv")
    cut.write_bytes(cut.read_bytes()[:-9])  # a truncated file does not count as done
    report = label_archive([videos], folder, model=network, backend="torch")
    assert (report.labelled, report.resumed, report.rows) == (2, 1, archive[1].rows)
    assert report.bad == archive[1].bad
    for video_id in LABELLED:
        assert read_rows(folder, video_id) == read_rows(archive[0], video_id)


def test_a_video_that_was_replaced_is_labelled_again(archive, network, videos, tmp_path):
    folder, source = tmp_path / "labels", tmp_path / "a.mp4"
    shutil.copytree(archive[0], folder)
    shutil.copy(videos / "below" / "a.mkv", source)
    report = label_archive([source], folder, model=network, backend="torch")
    assert (report.labelled, report.resumed) == (1, 0)
    assert len(read_rows(folder, "a.mp4")) == len(read_rows(folder, "below/a.mkv"))


def test_changed_options_are_refused_and_named(archive, network, videos):
    with pytest.raises(OptionError, match=r"\(rate_hz 8\.0, now 4\.0\)"):
        label_archive([videos], archive[0], model=network, backend="torch", rate_hz=4.0)
    with pytest.raises(OptionError, match=r"\(columns 'label', now 'probabilities'\)"):
        label_archive([videos], archive[0], model=network, backend="torch", probabilities=True)


def test_a_part_of_another_archive_is_refused(archive, network, videos, tmp_path):
    label_archive([videos / "a.mp4"], tmp_path, model=network, backend="torch", rate_hz=4.0)
    shutil.copy(archive[0] / "_archive.json", tmp_path)
    with pytest.raises(OptionError, match=r"a-\w+\.parquet holds another run \(rate_hz 4\.0"):
        label_archive([videos / "a.mp4"], tmp_path, model=network, backend="torch")


def test_all_probabilities_with_their_labels(archive, network, videos, tmp_path):
    video = videos / "a.mp4"
    label_archive([video], tmp_path, model=network, backend="torch", probabilities=True)
    rows = read_rows(tmp_path, "a.mp4")
    made = list(co3d.label_video(video, model=network, backend="torch"))
    assert [row["probabilities"] for row in rows] == [m.probabilities.tolist() for m in made]
    metadata = pyarrow.parquet.read_metadata(name_part(tmp_path, "a.mp4")).metadata
    assert json.loads(metadata[b"co3d.labels"]) == list(network.card.labels)


def test_features_of_a_layer(network, videos, tmp_path):
    video = videos / "a.mp4"
    label_archive([video], tmp_path, model=network, backend="torch", layer="trunk")
    rows = read_rows(tmp_path, "a.mp4")
    frames = [network.card.preprocess(frame.image) for frame in read_video(video, rate_hz=8)]
    with torch.inference_mode():
        clip = LayerFeatures(network, "trunk")(torch.stack(frames, 2))[0].T
    assert [row["pts_seconds"] for row in rows] == [number / 8 for number in range(12)]
    np.testing.assert_allclose([row["features"] for row in rows], clip, atol=1e-5)


def test_rows_do_not_depend_on_how_they_are_grouped(
    archive, network, videos, tmp_path, monkeypatch
):
    monkeypatch.setattr("co3d.fleet.rows.ROW_GROUP", 5)
    label_archive([videos], tmp_path, model=network, backend="torch", at_once=1)
    for video_id in LABELLED:
        assert read_rows(tmp_path, video_id) == read_rows(archive[0], video_id)


def test_an_interruption_leaves_only_complete_parts(archive, network, videos, tmp_path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        label_archive([videos], tmp_path, model=network, backend="torch", report=interrupt)
    left = {path.name for path in tmp_path.iterdir()} - {"_archive.json"}
    assert left <= {name_part(tmp_path, video_id).name for video_id in LABELLED}
    report = label_archive([videos], tmp_path, model=network, backend="torch")
    assert report.labelled + report.resumed == 3
    for video_id in LABELLED:
        assert read_rows(tmp_path, video_id) == read_rows(archive[0], video_id)


def test_a_full_disk_ends_the_run(network, videos, tmp_path, monkeypatch):
    def refuse(self, *_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PartWriter, "add", refuse)
    with pytest.raises(OutputError, match="No space left on device"):
        label_archive([videos], tmp_path, model=network, backend="torch")
    assert [path.name for path in tmp_path.iterdir()] == ["_archive.json"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate_hz": 0.0}, "rate_hz=0.0: expected a rate above 0"),
        ({"at_once": 0}, "0 videos at once: expected at least 1"),
        ({"layer": "tronk"}, "did you mean trunk"),
        ({"weights": "x.pt"}, "load them into it first"),
    ],
)
def test_invalid_options_are_refused(network, videos, tmp_path, options, message):
    with pytest.raises(OptionError, match=message):
        label_archive([videos], tmp_path / "labels", model=network, **options)
    assert not (tmp_path / "labels").exists()
