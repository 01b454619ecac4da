"""Skeleton, geometry, configuration, plotting and the viewer; imports no other package of ours."""
