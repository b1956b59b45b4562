"""Verbs over PCollections and the records that travel between them; knows Beam, not recipes."""

import logging


def _is_news(record: logging.LogRecord) -> bool:
    return "apitools not found" not in record.getMessage()


# Importing Beam without its Google Cloud extra logs a warning that concerns nobody here.
logging.getLogger().addFilter(_is_news)
import apache_beam.io  # noqa: E402, F401

logging.getLogger().removeFilter(_is_news)
