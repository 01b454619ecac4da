"""MPI-INF-3DHP, from its official download."""
