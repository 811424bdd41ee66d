"""The means that make a pair fast or fit a small card: graphs, layouts, offloading, a fast autoencoder."""
