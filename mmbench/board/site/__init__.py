"""The static site that `mmbench publish` writes: pages that need no server, no script and nothing from elsewhere."""
