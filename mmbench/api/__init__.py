"""The nouns: what a plugin author and a suite author write, and what a run leaves behind.

Nothing here imports torch, optuna, datasets or numpy when it is imported.
"""
