"""Real runs, killed in the middle of everything, and run on for long: `python -m tests.chaos --help`."""
