"""The training of the embedded transformer pair, on latents of the embedded autoencoder."""
