"""AnimateDiff and its distilled AnimateDiff-Lightning, on any base of Stable Diffusion 1.5."""
