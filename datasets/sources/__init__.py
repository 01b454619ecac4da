"""Real data sets, each converted to the training layout. None knows another."""
