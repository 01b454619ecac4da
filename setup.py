from pathlib import Path

from setuptools import find_packages, setup

root = Path(__file__).parent
requirements = [
    line for line in (root / "requirements.txt").read_text().splitlines() if line and not line.startswith("#")
]

setup(
    name="geometry-aware-pose",
    version="0.1.0",
    description="Unsupervised geometry-aware representation learning for 3D human pose, from multi-view video",
    long_description=(root / "README.md").read_text() if (root / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="MIT",
    packages=find_packages(include=["configs*", "models*", "datasets*", "training*", "utils*"]),
    python_requires=">=3.10",
    install_requires=requirements,
    extras_require={
        "render": ["anny>=0.6", "warp-lang>=1.19"],
        "video": ["av>=14", "opencv-python-headless>=4.10"],
        "h36m": ["av>=14", "opencv-python-headless>=4.10", "cdflib>=1.3"],
        "3dhp": ["av>=14", "opencv-python-headless>=4.10", "scipy>=1.10"],
        "visdom": ["visdom>=0.2.4"],
        "notebook": ["jupyterlab", "ipympl", "ipywidgets>=8.1", "nbclient>=0.10"],
        "dev": ["pytest>=8", "pytest-xdist>=3", "ruff>=0.6", "nbclient>=0.10", "ipykernel>=6.29", "ipywidgets>=8.1"],
    },
)
