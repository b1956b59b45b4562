"""Tool-integrated reasoning: solutions in which a model runs Python and reads what comes of it."""
