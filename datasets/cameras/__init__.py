"""Geometry of cameras: projection, calibration files, the virtual camera of a crop, and agreement between views."""
