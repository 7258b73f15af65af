"""Modules with the names and return values of madmail's own scenarios, for programs that import them."""
