"""Rendered people in the form of Human3.6M: the prepared crops are what the crop cameras see; a network trains."""

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("cv2")
pytest.importorskip("cdflib")
pytest.importorskip("anny")
pytest.importorskip("warp")

from datasets.layout.labels import Labels
from datasets.layout.png import read_png
from datasets.layout.writer import image_path
from datasets.rendered.raycast import RenderView
from datasets.sources.human36m.prepare import prepare_h36m
from tests.miniature_h36m import RenderedPeople, camera_of, write_miniature
from tests.runs import losses
from tests.tiny import tiny_config
from training.stages.novel_views import train_novel_views

WIDTH = 200


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Rendered people, recorded as videos and prepared: the folder, and the renderer."""
    root, people = tmp_path_factory.mktemp("rendered"), RenderedPeople()
    write_miniature(root / "source", people, (1,), WIDTH, num_poses=5)
    output = prepare_h36m(root / "source", root / "set", [1], every=2, size=32, workers=1, progress=False)
    return output, people


def test_crops_are_what_the_crop_camera_sees(rendered):
    folder, people = rendered
    labels, render, errors = Labels(folder), people.renderer(1), {"img_crop": [], "bg_crop": []}
    for row in range(0, labels.num_rows, 7):
        seq, cam, frame = (int(labels[name][row]) for name in ("seq", "cam", "frame"))
        number = seq % 4
        vertices = people.perform(1, number, 5 + number + 2)[0][frame]
        center = camera_of(1, cam, WIDTH).center
        view = RenderView(center[None], labels["extrinsic_rot"][[row]], labels["intrinsic_crop"][[row]])
        for kind, truth in zip(errors, render(vertices, view, 128), strict=True):
            truth = truth[0].reshape(32, 4, 32, 4, 3).mean((1, 3))
            crop = read_png(image_path(folder, seq, cam, frame, kind)).astype(float)
            near = [
                np.abs(crop - np.roll(truth, shift, (0, 1)))[2:-2, 2:-2].mean() for shift in ((0, 0), (1, 0), (0, 1))
            ]
            errors[kind].append(near)
    for kind in errors:
        exact, lower, beside = np.mean(errors[kind], axis=0)
        assert exact < 6 and exact < 0.7 * min(lower, beside), (kind, exact, lower, beside)


def test_stage_1_trains_on_it(rendered, tmp_path):
    folder = train_novel_views(tiny_config(rendered[0], tmp_path, num_training_iterations=3))
    logged = list(losses(folder).values())
    assert len(logged) == 3 and np.isfinite(logged).all()
