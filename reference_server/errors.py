"""The error that ends a start."""

from __future__ import annotations

__all__ = ["ConfigurationError"]


class ConfigurationError(Exception):
    """Settings that cannot work. The text names the setting, where it stands and what to do; the exit code is 2."""
