"""A run's winner taken along: a folder of weights and JSON, made of a run, loaded and used without it."""
