"""What the contracts of several roles ask alike."""
