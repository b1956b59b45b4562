"""A rehearsed judgement of answers to science questions: as of those to problems."""

from prompts.math.judge import rehearse as rehearse
