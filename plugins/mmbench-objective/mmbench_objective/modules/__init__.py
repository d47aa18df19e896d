"""The torch modules of the built-in objectives. Importing a file here imports torch.

All are functional, and what may differ between configurations is a buffer, so that many can train as one program.
"""
