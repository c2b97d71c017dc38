"""Labelled texts: what they are, their word vectors and batches."""
