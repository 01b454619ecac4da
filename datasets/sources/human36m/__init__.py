"""Human3.6M, from its official download."""
