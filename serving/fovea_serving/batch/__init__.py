"""Batch prediction: the model server's code on the records of files, without a port in between."""
