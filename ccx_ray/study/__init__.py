"""A study: the spec, its loading, the grid of trials, the shipped studies."""
