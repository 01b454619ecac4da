"""What pyproject.toml cannot say: the packages of this folder are installed inside one package, with their data."""

from setuptools import find_namespace_packages, setup

NAME = "geometry_aware_pose"
TREE = ("configs", "datasets", "models", "training", "utils")
# Folders whose files are data: weights, and three small sets in the training layout.
SETS = ("examples.weights", "examples.sample_set", "examples.hundred_labels", "examples.scenes", "examples.blazepose")

# configs/suites is a folder of config files without __init__.py, which find_packages would leave out.
folders = find_namespace_packages(include=[f"{name}*" for name in TREE], exclude=["*__pycache__*"])
folders += ["examples", *SETS]

setup(
    packages=[NAME, *(f"{NAME}.{folder}" for folder in folders)],
    package_dir={f"{NAME}.{folder}": folder.replace(".", "/") for folder in folders},
    package_data={
        NAME: ["py.typed"],
        f"{NAME}.examples": ["*.md", "*.json", "*.ipynb"],
        **{f"{NAME}.{folder}": ["*", "*/*/*"] for folder in SETS},
    },
    include_package_data=False,
)
