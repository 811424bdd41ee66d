"""CogVideoX: a transformer over video and text in one sequence, which answers v."""
