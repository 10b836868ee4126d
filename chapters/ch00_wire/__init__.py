"""Chapter 0: TCP is a stream, a broker speaks in frames."""
