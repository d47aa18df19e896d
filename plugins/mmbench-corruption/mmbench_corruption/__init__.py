"""Built-in plugin mmbench-corruption."""
