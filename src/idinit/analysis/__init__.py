"""What the graph of a forward pass tells: what flows where, residual sums, gates, attention, and so the parts of weights."""
