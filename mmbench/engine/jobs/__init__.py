"""What a worker does with a cell: search it, refit and predict, measure what it costs."""
