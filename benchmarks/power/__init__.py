"""What the statistics of folds and the protocol of a suite are worth, on real trainings and on paper."""
