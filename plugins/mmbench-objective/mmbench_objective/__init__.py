"""Built-in plugin mmbench-objective."""
