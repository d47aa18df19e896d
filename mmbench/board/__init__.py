"""What a run's results say: which may be compared, ranks, statistics, tables and the site. Imports no engine."""
