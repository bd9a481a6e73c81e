"""Features: declared by group, computed bar by bar from bars and seconds."""
