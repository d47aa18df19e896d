"""Built-in plugin mmbench-metric."""
