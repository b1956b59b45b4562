"""Shim so that Beam can stage the project on workers; everything is in pyproject.toml."""

from setuptools import setup

setup()
