"""Reads the registries of evaluation frameworks out of their wheels, without installing or importing them."""
