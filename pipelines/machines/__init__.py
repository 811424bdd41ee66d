"""The source of actors: the cluster, what they ask of it, jobs, what is uploaded for them."""
