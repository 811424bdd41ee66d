"""What runs inside a Ray actor."""
