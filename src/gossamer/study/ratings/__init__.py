"""The study of recommendation: two towers, dense and sparse, and simple methods, on any file of ratings."""
