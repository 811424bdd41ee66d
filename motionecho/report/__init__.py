"""The picture that a person looks at when a run is over."""
