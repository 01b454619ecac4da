"""Losses, metrics, engines, checkpoints and monitors; imports models, datasets and utils."""
