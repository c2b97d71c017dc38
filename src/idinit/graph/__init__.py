"""The graph of one forward pass: captured, recorded and evaluated."""
