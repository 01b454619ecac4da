"""From the frames of real cameras to crops and backgrounds."""
