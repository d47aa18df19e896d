"""What mmbench costs, measured side by side against the loops and scripts that users write."""
