"""Chapter 03 · ConsumeQueue: the display at HA51's gate reads one queue of eight."""
