"""Rank of weights during training."""
