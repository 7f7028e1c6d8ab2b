"""ccx_ray: controlled studies of how cultural knowledge moves between languages."""

__version__ = "0.1.0"
