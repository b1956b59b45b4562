"""Problems that a benchmark has too: found by words and meaning, checked by a model, labelled.

texts       what counts of a text: tokens, and runs of them
embedding   vectors of texts, and the nearest of them
reference   the benchmarks' rows, and what of them a text is like
similar     that of every record
checking    the pairs that a model is asked about
labels      what all of it says of a record, and the records that go on
"""
