"""Weights and units that training never moves."""
