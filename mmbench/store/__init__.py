"""What a run keeps: suite files, the append-only chain of rows, reading a run folder and writing one.

Computes nothing and imports no engine.
"""
