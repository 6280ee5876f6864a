"""WebRTC and decoders of encoded frames, in a separate process."""
