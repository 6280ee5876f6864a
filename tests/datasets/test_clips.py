import copy
import math
import pickle

import av
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from co3d.datasets.clips import BrokenVideo, VideoClips, collate_clips, read_clip
from co3d.datasets.layouts import open_dataset
from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.datasets.sampling import Sampling
from co3d.datasets.transforms import TestTransform, TrainTransform
from co3d.errors import DataError, EmptyVideoError, OptionError
from co3d.models.camera_motion import CAMERA_MOTION_CARD, CAMERA_MOTIONS
from co3d.video import read_video
from co3d.video.indexed_opening import open_indexed_video
from support.miniature import (
    KINDS,
    RATE_HZ,
    film_motion,
    make_charades,
    make_kinetics,
    write_mp4,
    write_pictures,
)

CARD = CAMERA_MOTION_CARD


@pytest.fixture(scope="module")
def kinetics(tmp_path_factory):
    return make_kinetics(tmp_path_factory.mktemp("kinetics"), classes=["pan left", "zoom in"])


@pytest.fixture(scope="module")
def manifest(kinetics):
    return open_dataset(kinetics.root, split="val", classes=CAMERA_MOTIONS)


def test_a_clip_holds_the_frames_of_its_times(tmp_path):
    path = write_mp4(tmp_path / "a.mp4", film_motion(1, 48, 1))
    with read_video(path) as reader:
        images = [frame.image for frame in reader]
    clip = read_clip(path, frames=8, rate_hz=8.0)
    numbers = (clip.pts_seconds * RATE_HZ).round().astype(int)
    assert numbers.tolist() == list(range(16, 32, 2))
    np.testing.assert_array_equal(clip.frames, [images[number] for number in numbers])
    part = read_clip(path, frames=4, rate_hz=4.0, start_seconds=1.0, end_seconds=2.0)
    assert (part.pts_seconds * RATE_HZ).round().tolist() == [16, 20, 24, 28]
    with pytest.raises(EmptyVideoError, match="from 5"):
        read_clip(path, frames=4, rate_hz=4.0, start_seconds=5.0)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_pyslowfast_counts_with_the_rate_that_the_container_states(tmp_path, suffix):
    path = tmp_path / f"thirty{suffix}"  # Matroska rounds times to milliseconds
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for image in film_motion(1, 150, 1, (32, 16)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    sampling = Sampling(views=3, rule="pyslowfast")
    source = open_indexed_video(path)
    for view, start in enumerate((0, 35, 70)):
        clip = read_clip(path, frames=16, rate_hz=6.0, sampling=sampling, view=view)
        numbers = np.searchsorted(source.times_seconds, clip.pts_seconds).tolist()
        assert numbers == [math.floor(start + i * 79 / 15) for i in range(16)]
    source.close()


def test_a_folder_of_frames_has_the_rate_that_it_is_given(tmp_path):
    folder = write_pictures(tmp_path / "a", film_motion(1, 48, 1))
    clip = read_clip(folder, frames=4, rate_hz=6.0, folder_rate_hz=24.0)
    assert (np.diff(clip.pts_seconds) * 24).round().tolist() == [4, 4, 4]


def test_every_readable_video_gives_clips_and_every_other_is_reported(kinetics, manifest):
    clips = VideoClips(manifest, CARD)
    items = [clips[index] for index in range(len(clips))]
    assert len(items) == len(kinetics.kinds) == 2 * len(KINDS) + 1
    read = {item["video_id"] for item in items if "clip" in item}
    assert read == kinetics.readable
    for item in items:
        if "clip" in item:
            assert item["clip"].shape == (3, 8, 64, 64)
            assert item["clip"].dtype == torch.float32
            assert int(item["label"]) == kinetics.labels[item["video_id"]][0]
        else:
            assert "label" not in item
            assert isinstance(item["broken"], BrokenVideo)
            assert item["broken"].video_id == item["video_id"]
            assert item["broken"].reason


def test_strict_mode_stops_at_the_first_bad_video(kinetics, manifest):
    clips = VideoClips(manifest, CARD, strict=True)
    bad = [i for i, e in enumerate(manifest.entries) if e.video_id not in kinetics.readable]
    for index in bad:
        with pytest.raises(DataError, match=r"cannot use the video .*co3d data doctor"):
            clips[index]
    assert "clip" in clips[0]


@pytest.mark.parametrize("workers", [0, 2])
def test_loaders_sort_out_what_is_broken(kinetics, manifest, workers):
    clips = VideoClips(manifest, CARD, Sampling(views=2, crops=3))
    loader = DataLoader(clips, batch_size=7, num_workers=workers, collate_fn=collate_clips)
    seen, broken = [], []
    for batch in loader:
        broken += batch["broken"]
        if "clip" in batch:
            assert len(batch["clip"]) == len(batch["label"]) == len(batch["video_id"])
            seen += zip(batch["video_id"], batch["view"].tolist(), strict=True)
    assert len(seen) == len(set(seen)) == 6 * len(kinetics.readable)
    assert {name for name, _ in seen} == kinetics.readable
    assert len(broken) == 6 * (len(kinetics.kinds) - len(kinetics.readable))


def test_workers_and_order_change_nothing(manifest):
    one = VideoClips(manifest, CARD, Sampling(views=3))
    forwards = [one[index] for index in range(len(one))]
    two = VideoClips(manifest, CARD, Sampling(views=3))
    for index in reversed(range(len(two))):
        item = two[index]
        assert item.keys() == forwards[index].keys()
        if "clip" in item:
            assert torch.equal(item["clip"], forwards[index]["clip"])


def test_views_are_times_and_crops(tmp_path):
    path = write_mp4(tmp_path / "a.mp4", film_motion(1, 64, 1, (192, 64)))
    manifest = Manifest(tmp_path, CAMERA_MOTIONS, (VideoEntry("a", path.name, (1,)),))
    clips = VideoClips(manifest, CARD, Sampling(views=2, crops=3))
    assert (len(clips), clips.views) == (6, 6)
    for view in range(6):
        moment, crop = divmod(view, 3)
        clip = read_clip(path, frames=8, rate_hz=8.0, sampling=Sampling(views=2), view=moment)
        item = clips[view]
        assert item["view"] == view
        assert torch.equal(item["clip"], TestTransform(CARD)(clip.frames, crop))
    assert torch.equal(VideoClips(manifest, CARD, Sampling(views=2))[1]["clip"],
                       TestTransform(CARD)(clip.frames))  # fmt: skip


def test_whole_videos_come_as_one_clip(manifest):
    clips = VideoClips(manifest, CARD, Sampling(kind="whole"))
    lengths = {e.video_id.split("-")[0]: clips[i]["clip"].shape[1]
               for i, e in enumerate(manifest.entries) if "clip" in clips[i]}  # fmt: skip
    assert (lengths["valid"], lengths["long"], lengths["short"]) == (16, 64, 2)
    items = [clips[0], clips[2]]
    with pytest.raises(OptionError, match="several lengths"):
        collate_clips(items)


def test_random_clips_differ_and_follow_the_seed(manifest):
    clips = VideoClips(manifest, CARD, Sampling(kind="random"), TrainTransform(CARD))
    index = next(i for i, e in enumerate(manifest.entries) if e.video_id.startswith("long"))
    torch.manual_seed(0)
    first, second = clips[index]["clip"], clips[index]["clip"]
    torch.manual_seed(0)
    assert torch.equal(clips[index]["clip"], first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("as_frames", [False, True])
def test_labels_of_multi_label_sets(tmp_path, as_frames):
    made = make_charades(tmp_path, videos=1, as_frames=as_frames)
    manifest = open_dataset(tmp_path)
    item = VideoClips(manifest, CARD)[0]
    assert item["label"].dtype == torch.float32
    assert item["label"].nonzero().flatten().tolist() == list(made.labels["MINI0"])
    torch.manual_seed(1)
    clips = VideoClips(manifest, CARD, Sampling(kind="random", frames=4))
    drawn = {tuple(clips[0]["label"].nonzero().flatten().tolist()) for _ in range(20)}
    assert all(1 <= len(labels) <= 2 for labels in drawn)
    assert len(drawn) > 1


def test_unknown_labels_are_minus_one(tmp_path):
    write_mp4(tmp_path / "a.mp4", film_motion(1, 16, 1))
    clips = VideoClips(Manifest(tmp_path, ("run",), (VideoEntry("a", "a.mp4", ()),)), CARD)
    assert int(clips[0]["label"]) == -1


def test_data_sets_travel_to_workers(manifest):
    clips = VideoClips(manifest, CARD)
    assert "clip" in clips[0]
    for copied in (pickle.loads(pickle.dumps(clips)), copy.copy(clips)):
        assert torch.equal(copied[0]["clip"], clips[0]["clip"])
    with pytest.raises(IndexError):
        clips[len(clips)]
