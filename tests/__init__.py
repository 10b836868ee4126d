"""Tests of the whole system; a chapter's own tests lie beside the chapter."""
