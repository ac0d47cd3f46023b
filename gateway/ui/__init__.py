"""The browser page at `/`; it uses the public endpoints only."""
