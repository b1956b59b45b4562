"""Science questions: planned by topic, written by models, checked, and held to their answers."""
