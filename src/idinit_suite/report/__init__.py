"""Run folders -> archive -> statistics -> table, figure and page."""
