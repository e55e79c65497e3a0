"""Where points are measured: in this process, or in a pool of processes."""
