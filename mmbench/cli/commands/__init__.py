"""The commands, one module each or for a few that belong together; each composes the house and prints."""
