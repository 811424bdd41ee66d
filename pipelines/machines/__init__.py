"""Where actors come from: the cluster, what they ask of it, jobs, what is uploaded for them."""
