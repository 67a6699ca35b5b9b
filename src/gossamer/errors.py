"""Every exception that Gossamer raises on purpose, as one tree.

.. code-block:: text

    GossamerError
    ├── ArgumentError (ValueError)             a call that cannot be right; change the call
    │   ├── ShapeError                         arrays whose shapes do not fit each other
    │   ├── ConfigError                        an unknown option, or a setting out of range
    │   └── MismatchError                      two things that come from different models
    ├── DataError (ValueError)                 input that cannot be used; change the data
    │   ├── EmbeddingsError                    rows that are not valid embeddings
    │   └── FormatError                        a file that is damaged or of another kind
    │       └── VersionError                   a file that a newer Gossamer wrote
    ├── NotFoundError (FileNotFoundError)      a path, or an image in a data set, that is not there
    ├── OutputExistsError (FileExistsError)    an output path that is taken
    ├── TrainingError (RuntimeError)           training that cannot go on
    └── MissingDependencyError (ImportError)   an optional library that is not installed

Catch ``GossamerError`` for all of them, or the builtin in parentheses. Each message is one sentence
or two: the argument, what was expected, what came, and the likely remedy.
"""


class GossamerError(Exception):
    """Base of every error that Gossamer raises on purpose."""


class ArgumentError(GossamerError, ValueError):
    """An argument that cannot be right, whatever the data."""


class ShapeError(ArgumentError):
    """Arrays whose shapes do not fit each other or the call."""


class ConfigError(ArgumentError):
    """An unknown option, or a setting outside its range."""


class MismatchError(ArgumentError):
    """Two things that must come from one model and do not."""


class DataError(GossamerError, ValueError):
    """Input data that cannot be used as they are."""


class EmbeddingsError(DataError):
    """Rows that are not valid embeddings: NaN, unsorted dimensions, wrong types."""


class FormatError(DataError):
    """A file that is truncated, damaged or of another kind."""


class VersionError(FormatError):
    """A file in a format version newer than this Gossamer reads."""


class NotFoundError(GossamerError, FileNotFoundError):
    """A path, or an image named in a list, that does not exist."""


class OutputExistsError(GossamerError, FileExistsError):
    """An output path that already exists; nothing was overwritten."""


class TrainingError(GossamerError, RuntimeError):
    """Training that cannot go on: a loss that is not finite, no class to learn."""


class MissingDependencyError(GossamerError, ImportError):
    """An optional library that a feature needs; the message names the extra to install."""
