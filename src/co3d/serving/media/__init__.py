"""WebRTC and decoders of encoded frames, in a process of their own."""
