"""Data at work: datasets kept on disk, features made once, one cell's tensors in memory."""
