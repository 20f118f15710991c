"""All errors that llmzip raises on purpose: one root, one class a remedy.

    LlmzipError
    |-- ArchiveError            damaged, cut short, or not an llmzip archive     -> another copy, or --recover
    |-- UnsupportedVersionError written by a newer llmzip                        -> upgrade
    |-- PredictorMismatchError  the archive needs another model than this one    -> name the right one
    |-- ModelError              a model or program cannot be found or run        -> another name, or install it
    |-- CorpusError             a corpus cannot be found, fetched or verified    -> fetch it again
    |-- RoundTripError          what was decoded is not what was encoded         -> report a bug
    |-- DocumentError           a document says what cannot be, or cannot be read -> restore it, or make it again
    |-- NotComparableError      two results do not measure the same thing        -> measure again
    `-- UsageError              the request itself cannot be carried out         -> change the request

Imports nothing; every other module may import it.
"""


class LlmzipError(Exception):
    """Root of all of them. ``exit_code`` is what the command line ends with."""

    exit_code = 1


class ArchiveError(LlmzipError):
    """The bytes are not a whole, undamaged archive."""


class UnsupportedVersionError(LlmzipError):
    """The archive is of a format version that this llmzip does not know."""


class PredictorMismatchError(LlmzipError):
    """The archive was made with another predictor than the one at hand."""

    exit_code = 4


class ModelError(LlmzipError):
    """A model is missing, incomplete, or of a kind that cannot be run; or a codec's program or library is missing."""

    exit_code = 4


class CorpusError(LlmzipError):
    """A corpus is missing or is not the one that the manifest describes."""

    exit_code = 4


class RoundTripError(LlmzipError):
    """Decoding did not give back the original bytes."""


class NotComparableError(LlmzipError):
    """Two results have different identities."""

    exit_code = 3


class DocumentError(LlmzipError):
    """A document that llmzip reads is damaged, of another kind, or says what cannot have been measured."""

    exit_code = 2


class UsageError(LlmzipError):
    """The request contradicts itself or the state of the file system."""

    exit_code = 2
