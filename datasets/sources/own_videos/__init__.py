"""Videos of your own calibrated cameras."""
