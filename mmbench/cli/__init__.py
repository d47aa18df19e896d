"""The command line: the only place that prints. Each command is a module; `app` puts them together."""
