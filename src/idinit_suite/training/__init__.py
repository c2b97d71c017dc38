"""Training: one loop for every model family, with exact resume."""
