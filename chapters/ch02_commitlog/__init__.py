"""Chapter 02 · CommitLog: demonstration, the obvious idea and why it fails, invariants as tests."""
