"""The operations between matrix products, in plain torch and as fused kernels: the same functions."""
