"""The torch modules of the built-in fusions, one file a family. Importing a file here imports torch."""
