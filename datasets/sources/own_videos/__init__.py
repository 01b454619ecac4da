"""A user's own videos of synchronized, calibrated cameras."""
