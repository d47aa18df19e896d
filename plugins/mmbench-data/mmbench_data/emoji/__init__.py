"""Emoji: their pictures and names, as a task of classes and as one of retrieval."""
