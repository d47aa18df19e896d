"""Chinese characters: how they are written, how they look, what they mean."""
