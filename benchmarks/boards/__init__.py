"""What boards say, held against what is known."""
