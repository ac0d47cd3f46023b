"""Tests of Gantry, in the shape of the tree they test; `tests/parts` starts the real servers they talk to."""
