"""From threads of a forum to problems: extracted, classified, answered, converted, merged."""
