"""Built-in plugin mmbench-tabular."""
