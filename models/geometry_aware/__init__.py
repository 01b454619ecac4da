"""Unsupervised geometry-aware representation (Rhodin, Salzmann, Fua, ECCV 2018)."""
