"""Chapter 1: where is `flights`?"""
