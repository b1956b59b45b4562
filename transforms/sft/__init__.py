"""From judged solutions to rows that a trainer reads: filters, rendering, sampling, lengths."""
