"""How accuracy is measured: one protocol in each module, with its definition and its source."""
