"""Text encoders of T5's kind: out of their files, and as families of models read texts by them."""
