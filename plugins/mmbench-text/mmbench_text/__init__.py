"""Built-in plugin mmbench-text."""
