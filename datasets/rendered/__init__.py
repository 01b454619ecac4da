"""Rendered people: pictures of bodies in rooms, with exact labels."""
