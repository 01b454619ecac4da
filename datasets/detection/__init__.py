"""Finds people and their 2D landmarks in single images. Knows no cameras and no videos."""
