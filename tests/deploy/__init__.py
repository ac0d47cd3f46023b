"""What compose.yaml and deploy/ promise, as far as it can be shown without containers."""
