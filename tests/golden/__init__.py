"""Golden runs: what a small suite of every head gives, held for as long as the protocol has one number."""
