"""Chapter 01 · Routing: who is where, and who may say so.

Brokers tell every NameServer what they are and which topics they hold, and tell it again and again. Clients
ask one NameServer and remember the answer. No message passes through a NameServer, nothing that it knows is
written down, and two of them never speak to each other.
"""
