"""The coordinator's gRPC services: `guard` is the door, `board` what is shown, the rest are thin methods."""
