"""Takes requests of models without a pod, and passes them on once one has started."""
