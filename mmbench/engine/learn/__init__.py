"""Learning at work: the head of each target, the model of a configuration, the loop that trains it."""
