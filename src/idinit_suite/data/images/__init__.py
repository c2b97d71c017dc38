"""Image data sets: what they are, how they are read, augmented and batched."""
