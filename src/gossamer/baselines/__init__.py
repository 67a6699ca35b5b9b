"""What sparse search is compared with: one `gossamer.Searcher` over dense embeddings or codes in each module."""
