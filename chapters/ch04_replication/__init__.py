"""Chapter 04 · Replication: the copy of LGA's log, when LGA itself is gone."""
