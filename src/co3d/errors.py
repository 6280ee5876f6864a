"""Every error that co3d raises on purpose: one class per cause, each with its own exit code.

A message reads: what failed, got versus expected, what to do next. The command line prints it as
one line and exits with `exit_code`; 0 is success, 1 an error of ours (a bug), 2 a wrong
command line, 130 an interrupt.
"""


class Co3dError(Exception):
    """Base class of everything that co3d raises on purpose."""

    exit_code = 1


class OptionError(Co3dError, ValueError):
    """An argument has an invalid value."""

    exit_code = 2


class DamagedVideoError(Co3dError):
    """A video stopped decoding before its end; what could be decoded was delivered."""

    exit_code = 3


class SourceNotFoundError(Co3dError, FileNotFoundError):
    """A video file or folder does not exist."""

    exit_code = 10


class NotAVideoError(Co3dError):
    """A file exists but no demuxer can read it as video."""

    exit_code = 11


class NoVideoStreamError(Co3dError):
    """A media file has no video stream (sound only, say)."""

    exit_code = 12


class EmptyVideoError(Co3dError):
    """A video or frame folder decodes to zero frames."""

    exit_code = 13


class CameraError(Co3dError):
    """A camera is absent or refuses to open."""

    exit_code = 14


class SourceUnreachableError(Co3dError, ConnectionError):
    """A network stream cannot be reached."""

    exit_code = 15


class CertificateError(SourceUnreachableError):
    """The certificate of a network stream does not verify."""

    exit_code = 19


class DataError(Co3dError):
    """A data set, annotation file or manifest cannot be used as it stands."""

    exit_code = 16


class VideoLimitError(Co3dError):
    """A video asks for more pixels, frames, time or memory than one may (see `VideoLimits`)."""

    exit_code = 17


class SandboxError(Co3dError):
    """A process that read a stranger's file died, or took more memory or time than it may."""

    exit_code = 18


class UnknownModelError(Co3dError, LookupError):
    """No model or weight tag has this name."""

    exit_code = 20


class WeightError(Co3dError):
    """A checkpoint cannot be read, is hostile, or does not fit the model."""

    exit_code = 21


class DownloadError(WeightError):
    """A published checkpoint could not be fetched."""

    exit_code = 22


class ConversionError(Co3dError):
    """A network cannot be converted to a step program."""

    exit_code = 30


class InternalError(Co3dError):
    """A step of co3d's own failed: a bug in co3d, not in the given network."""

    exit_code = 37


class InputShapeError(Co3dError, ValueError):
    """A clip, frame or image has a shape, size or type that the network cannot take."""

    exit_code = 31


class StreamError(Co3dError):
    """A stream is used out of order, or a snapshot does not belong to it."""

    exit_code = 32


class EngineFullError(Co3dError):
    """The machine cannot serve another live stream at its rate."""

    exit_code = 38


class ParityError(Co3dError):
    """A step program does not compute what its clip network computes."""

    exit_code = 33


class MissingPackageError(Co3dError, ImportError):
    """An optional package is not installed."""

    exit_code = 34


class OutputError(Co3dError, OSError):
    """A result cannot be written."""

    exit_code = 40


class ExportError(Co3dError):
    """A step program cannot be written in the requested format."""

    exit_code = 35


class ExportedFileError(Co3dError):
    """An exported file cannot be read, is hostile, or was not written by `co3d export`."""

    exit_code = 36


class FleetError(Co3dError, ValueError):
    """A fleet file has an unknown key or an invalid value."""

    exit_code = 60


class RecipeError(Co3dError, ValueError):
    """A training recipe has an unknown key or an invalid value."""

    exit_code = 50


class TrainingError(Co3dError):
    """Training cannot start or continue; the run folder keeps earlier results."""

    exit_code = 51
