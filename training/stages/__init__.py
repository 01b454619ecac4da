"""What each stage of training computes: novel views, then poses."""
