"""How fast everything is, compared with a plain implementation. `make bench` runs run.py."""
