"""Chapter 00 · Wire: frames, commands, one reply to each request.

TCP carries bytes, not messages. This floor cuts them into frames, turns frames into commands, and matches
each reply to its request. Every later floor adds request codes; none changes how they travel.
"""
