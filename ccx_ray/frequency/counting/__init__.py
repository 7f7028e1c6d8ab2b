"""How often knowledge occurs: exact counts, exhaustive scan, density, exposure."""
