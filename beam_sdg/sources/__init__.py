"""Sources: rows of files and of datasets of the Hugging Face hub, as problems or threads.

formats     the columns of published datasets
files       which files there are, and their text
rows        the rows of a file, by its kind: lines, documents, delimited, Parquet
hub         the rows of a dataset
problems    a row as a problem or a reject
source      what a user names
read        all of it in a pipeline
thread_rows a row as a thread of a forum or a reject
dumps       the files of Stack Exchange's dumps, as threads
threads     the flags that say which threads, and the stage that reads them
"""

from beam_sdg.sources.formats import FORMATS, Format
from beam_sdg.sources.read import ReadProblems
from beam_sdg.sources.source import Source

__all__ = ["FORMATS", "Format", "ReadProblems", "Source"]
