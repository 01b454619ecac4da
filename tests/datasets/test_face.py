"""The face of the package: what notebooks import, and nothing that hides a module."""

import importlib
import pkgutil

import datasets


def test_face_has_nine_names():
    expected = {"CropCamera", "GroupedBatchSampler", "Labels", "validate"}
    expected |= {"LayoutWriter", "MultiViewDataset", "FrameWriter", "FrameDataset", "BOX_METRES"}
    assert set(datasets.__all__) == expected
    assert all(hasattr(datasets, name) for name in expected)


def test_no_name_of_the_face_hides_a_module():
    for module in pkgutil.iter_modules(datasets.__path__):
        assert module.name not in datasets.__all__
        assert importlib.import_module(f"datasets.{module.name}").__name__ == f"datasets.{module.name}"
