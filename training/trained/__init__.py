"""Trained networks: opening, evaluating, viewing and exporting them."""
