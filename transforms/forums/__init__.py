"""Threads of forums: posts cleaned, joined, put in order and cut to a length for models to read."""
