"""What several families share: n-dimensional helpers, attention, embeddings, feed-forward nets, residual blocks."""
