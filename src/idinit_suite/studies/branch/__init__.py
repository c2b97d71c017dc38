"""Training of a residual branch from several initial values."""
