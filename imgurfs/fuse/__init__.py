"""The kernel adapter: the only package that imports pyfuse3."""
