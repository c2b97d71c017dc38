"""What several studies share: networks, data and training loops."""
