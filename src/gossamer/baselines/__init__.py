"""What sparse search is compared with: one `gossamer.Searcher` over dense embeddings in each module."""
