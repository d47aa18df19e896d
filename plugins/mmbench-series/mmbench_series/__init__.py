"""Built-in plugin mmbench-series."""
