"""Scenes of several people who move, pass and occlude each other, in full frames of static cameras."""
