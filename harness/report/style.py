"""Style sheets of pages and drawings, which are files beside the templates."""

from __future__ import annotations

from importlib import resources

__all__ = ["TEMPLATES", "style_sheet"]

TEMPLATES = "templates"
"""Directory of the templates, in this package."""


def style_sheet(name: str) -> str:
    """`figure.css` for drawings, `report.css` for what is around them."""
    return (resources.files(__package__ or "") / TEMPLATES / name).read_text(encoding="utf-8")
