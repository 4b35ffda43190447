"""Snakemake executor plugin: every job of a workflow becomes a pod, sent to interLink plugins over REST."""
