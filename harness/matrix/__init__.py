"""The matrix: servers and clients of many versions against each other, cell by cell."""
