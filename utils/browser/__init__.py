"""The viewer in a browser, drawn by viser: live, and as a page that needs no Python."""
