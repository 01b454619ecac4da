"""A body and its clothes, at rest."""
