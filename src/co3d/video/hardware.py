"""Hardware decoders: which ones this machine has, and which one decodes a source."""

from functools import lru_cache

from av.codec import Codec
from av.codec.context import CodecContext
from av.codec.hwaccel import HWAccel, HWDeviceType, hwdevices_available
from av.error import FFmpegError

from co3d.errors import OptionError

KINDS = tuple(kind.name for kind in HWDeviceType if kind.name != "none")
"""The kinds of device, of those FFmpeg knows, that decode video; most builds have a few of them."""

PROBED_CODEC = "h264"
"""Every device that decodes video decodes this codec."""


def check_decode(decode: str) -> str:
    """Return a decoding option unchanged.

    Raises:
        OptionError: it is unknown.
    """
    if decode not in ("auto", "cpu", *KINDS):
        raise OptionError(
            f"cannot decode on {decode!r}: choose auto, cpu, or a device: {', '.join(KINDS)}"
        )
    return decode


def find_hardware(decode: str) -> tuple[HWAccel | None, str | None]:
    """The hardware decoder for a source, and a notice.

    Args:
        decode: "cpu" for none, "auto" for the first usable device, or a kind of device.

    Returns:
        What `av.open` takes as `hwaccel`, and why there is none although one was requested, as a
        predicate whose subject is the source; both may be None.

    Raises:
        OptionError: a device was named that cannot be used here.
    """
    if decode == "cpu":
        return None, None
    if decode != "auto":
        fault = find_fault(decode)
        if fault is not None:
            raise OptionError(
                f"cannot decode on {decode}: {fault}; choose auto, which takes what is there, or "
                "cpu"
            )
        return HWAccel(decode, allow_software_fallback=False), None
    faults = {kind: find_fault(kind) for kind in hwdevices_available()}
    for kind, fault in faults.items():
        if fault is None:
            return HWAccel(kind, allow_software_fallback=True), None
    told = "; ".join(f"{kind}: {fault}" for kind, fault in faults.items()) or "FFmpeg has none"
    return None, f"is decoded by the processor, as no hardware decoder is here ({told})"


@lru_cache
def find_fault(kind: str) -> str | None:
    """Why a kind of device cannot be used here; None where it can."""
    if kind not in hwdevices_available():
        return f"FFmpeg was built without it, and with {', '.join(hwdevices_available())}"
    try:
        HWAccel(kind).create(Codec(PROBED_CODEC, "r"))
    except NotImplementedError:
        return "it has no decoder of H.264 that FFmpeg can use"
    except FFmpegError as error:
        return f"the device cannot be opened ({error.strerror})"
    return None


def refuse_device() -> OptionError:
    """The error if the device that must decode has no decoder for the video."""
    return OptionError(
        "cannot decode on the device that was named: it has no decoder for this video; choose "
        "auto, which takes the processor then"
    )


def explain_fallback(context: CodecContext) -> str | None:
    """Why a stream is decoded by the CPU although a device was given; None if it is not.

    Raises:
        OptionError: the device was named, so that nothing else may decode.
    """
    wished: HWAccel | None = getattr(context, "hwaccel", None)
    if wished is None or context.is_hwaccel:
        return None
    if not getattr(wished, "allow_software_fallback", True):  # which PyAV's stubs leave out
        raise refuse_device()
    return f"is decoded by the processor, as the device has no decoder for {context.name}"
