"""Dynamical isometry at initialization."""
