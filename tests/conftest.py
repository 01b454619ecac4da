"""Tests run side by side on few cores and without a screen: one thread each, set before torch starts."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
