"""The chapters: the story of January, the broker on one page, its failures, and a folder for each chapter."""
