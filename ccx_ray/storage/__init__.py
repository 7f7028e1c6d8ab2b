"""Local folders and object stores: published at once, verified, fetched into a cache."""
