"""Programs that solve problems: questions and tests, code in answers, verdicts by running it."""
