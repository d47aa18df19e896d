"""What keeps and shows: suite files, the store, statistics, ranks, reports. Computes no model, imports no engine."""
