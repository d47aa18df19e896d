"""Built-in plugin mmbench-vision."""
