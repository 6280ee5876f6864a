import numpy as np
import pytest
import torch

from co3d.datasets.manifest import VideoEntry
from co3d.errors import OptionError
from co3d.evaluation.feature_picture import FeatureSample, draw_features
from co3d.evaluation.features import VideoFeatures
from co3d.evaluation.jobs import Job
from co3d.evaluation.projection import project_pca, project_umap, refuse_numba_settings


def make_features(rows, label=0):
    times = tuple(map(float, range(len(rows))))
    return VideoFeatures(Job(0, VideoEntry("a", "a.mp4", (label,))), times, times, rows)


def test_the_projection_is_that_of_numpy():
    rows = torch.randn(40, 5, generator=torch.Generator().manual_seed(1)) * torch.tensor(
        [5.0, 3.0, 1.0, 0.5, 0.1]
    )
    plane = project_pca(rows)
    centred = rows.double().numpy() - rows.double().numpy().mean(0)
    variance, axes = np.linalg.eigh(centred.T @ centred)
    expected = centred @ axes[:, ::-1][:, :2]
    np.testing.assert_allclose(plane.coordinates.abs().numpy(), np.abs(expected), atol=1e-4)
    shares = 100 * variance[::-1] / variance.sum()
    assert plane.axes[0] == f"first principal component, {shares[0]:.0f} % of the variance"
    assert plane.axes[1] == f"second, {shares[1]:.0f} % of the variance"


def test_flat_features_have_a_projection():
    for rows in (torch.ones(1, 3), torch.ones(4, 1), torch.zeros(3, 2)):
        plane = project_pca(rows)
        assert plane.coordinates.shape == (len(rows), 2)
        assert torch.isfinite(plane.coordinates).all()


def test_too_few_rows_have_no_umap():
    with pytest.raises(OptionError, match="--projection pca"):
        project_umap(torch.ones(3, 2))


@pytest.mark.slow
def test_umap_keeps_separate_clusters_separate():
    generator = torch.Generator().manual_seed(2)
    rows = torch.randn(60, 6, generator=generator)
    rows[30:] += 50
    plane = project_umap(rows)
    near, far = plane.coordinates[:30], plane.coordinates[30:]
    spread = max(part.std(0).max() for part in (near, far))
    assert (near.mean(0) - far.mean(0)).norm() > 3 * spread
    assert torch.equal(plane.coordinates, project_umap(rows).coordinates)


def test_every_row_is_equally_likely_to_be_sampled():
    counts = np.zeros(50)
    for seed in range(200):
        sample = FeatureSample(10)
        sample._generator.manual_seed(seed)
        sample.add(make_features(torch.arange(50.0)[:, None]))
        assert len(sample.rows) == len(sample.labels) == 10
        for row in sample.rows:
            counts[int(row)] += 1
    assert counts.min() > 20
    assert counts.max() < 65  # 40 on average


def test_the_legend_names_the_most_frequent_of_many_classes(tmp_path):
    sample = FeatureSample()
    for label in range(20):
        sample.add(make_features(torch.randn(1 + label, 4), label))
    path = tmp_path / "features.png"
    draw_features(sample, [f"$class {i}" for i in range(20)], path, title="a_$b")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_settings_of_numba_in_this_folder_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refuse_numba_settings()
    (tmp_path / ".numba_config.yaml").write_text("cache_dir: cache\n")
    with pytest.raises(OptionError, match="numba_config"):
        project_umap(torch.ones(9, 2))
