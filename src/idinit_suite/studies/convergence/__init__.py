"""Convergence of training a deep linear network."""
