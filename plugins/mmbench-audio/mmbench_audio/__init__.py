"""Built-in plugin mmbench-audio."""
