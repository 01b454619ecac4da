"""Geometry of cameras: projection, calibration files, and the crop camera that looks at a person."""
