"""Built-in plugin mmbench-data."""
