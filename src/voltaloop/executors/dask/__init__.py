"""Clusters through Dask."""
