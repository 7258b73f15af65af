"""Fuzz targets: every parser and session that reads bytes of strangers (docs/reliability.md). Not part of the wheel."""
