import pytest

from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.errors import DataError
from co3d.evaluation.jobs import make_jobs


def build(tmp_path, labels, *, multi_label=False):
    entries = tuple(VideoEntry(f"v{i}", f"{i}.mp4", row) for i, row in enumerate(labels))
    return Manifest(tmp_path, ("a", "b"), entries, multi_label)


def test_a_larger_limit_keeps_the_videos_of_a_smaller_one(tmp_path):
    manifest = build(tmp_path, [(i % 2,) for i in range(40)])
    drawn = [{job.index for job in make_jobs(manifest, 2, limit)} for limit in (5, 17, 40)]
    assert [len(indices) for indices in drawn] == [5, 17, 40]
    assert drawn[0] < drawn[1] < drawn[2]
    assert drawn[0] != set(range(5))
    assert [job.index for job in make_jobs(manifest, 2, 5)] == sorted(drawn[0])


@pytest.mark.parametrize("labels", [[(0,), ()], [(0,), (0, 1)]])
def test_a_video_of_a_single_label_set_has_one_class(tmp_path, labels):
    with pytest.raises(DataError, match="v1"):
        make_jobs(build(tmp_path, labels), 2)
    assert len(make_jobs(build(tmp_path, labels, multi_label=True), 2)) == 2


def test_data_sets_that_cannot_be_evaluated_are_refused(tmp_path):
    with pytest.raises(DataError, match="no videos"):
        make_jobs(build(tmp_path, []), 2)
    with pytest.raises(DataError, match="got a data set of 2 classes, expected 400"):
        make_jobs(build(tmp_path, [(0,)]), 400)
