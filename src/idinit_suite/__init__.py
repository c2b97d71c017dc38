"""A suite that reproduces the IDInit paper with the library ``idinit``."""
