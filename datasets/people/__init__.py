"""Bodies and their clothes, at rest."""
