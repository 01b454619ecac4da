"""How fast everything is, beside the straightforward way of doing it. `make bench` runs run.py."""
