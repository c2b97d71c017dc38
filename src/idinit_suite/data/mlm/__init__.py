"""Masked language modelling: corpora, tokenizers, packing and masking."""
