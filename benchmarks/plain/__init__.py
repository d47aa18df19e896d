"""What users write without mmbench: models, training loops, a search script. The other side of each ratio."""
