"""Archives of finished runs and studies, and their reading as settings and variants."""
