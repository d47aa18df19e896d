"""Built-in plugin mmbench-fusion."""
