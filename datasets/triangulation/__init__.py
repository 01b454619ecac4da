"""One person's 3D skeleton from the 2D landmarks of several calibrated cameras. Knows no files and no videos."""
