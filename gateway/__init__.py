"""Gantry: a DICOMweb imaging gateway."""
