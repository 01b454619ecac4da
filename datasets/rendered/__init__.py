"""Images of people in a room, rendered with exact labels."""
