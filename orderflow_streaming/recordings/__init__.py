"""Frames as they came: the journal, files of recordings, and both fed back."""
