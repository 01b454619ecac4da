"""Parts of networks that belong to no method."""
