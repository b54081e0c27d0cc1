"""Clusters through Parsl: its HighThroughputExecutor carries tasks, the blocks are our own."""
