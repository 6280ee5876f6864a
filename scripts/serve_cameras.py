"""RTSP cameras on this machine, as many as wanted, by gst-rtsp-server.

/usr/bin/python3 scripts/serve_cameras.py --port 8554 --cameras 64

It needs Debian's gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-good and -ugly, and the Python
that they are for. Camera number n is at rtsp://127.0.0.1:PORT/n.
"""

import argparse

import gi  # type: ignore[import-not-found]

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # type: ignore[import-not-found] # noqa: E402


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description="RTSP cameras on this machine")
    parser.add_argument("--port", type=int, default=8554)
    parser.add_argument("--cameras", type=int, default=64)
    parser.add_argument("--width", type=int, default=160)
    parser.add_argument("--height", type=int, default=120)
    parser.add_argument("--rate", type=int, default=8)
    arguments = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(arguments.port))
    for number in range(arguments.cameras):
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_shared(True)
        factory.set_launch(
            f"( videotestsrc is-live=true pattern={'ball' if number % 2 else 'smpte'} "
            f"! video/x-raw,width={arguments.width},height={arguments.height},"
            f"framerate={arguments.rate}/1 "
            "! x264enc tune=zerolatency speed-preset=ultrafast threads=1 "
            f"key-int-max={arguments.rate} ! rtph264pay name=pay0 pt=96 config-interval=1 )"
        )
        server.get_mount_points().add_factory(f"/{number}", factory)
    server.attach(None)
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
