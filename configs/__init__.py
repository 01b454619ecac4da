"""What to run: config dictionaries, and the scripts that run them."""
