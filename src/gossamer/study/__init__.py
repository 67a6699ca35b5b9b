"""Speed–accuracy studies: train, search, measure, draw."""
