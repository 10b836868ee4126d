"""Chapter 02 · Clients: who is a producer and who a consumer, right now.

A client says who it is every 30 seconds. The broker believes it until its connection closes or it has been
silent for 120 seconds. Later floors ask these tables whom to tell, whom to check, and what a group wants.
"""
