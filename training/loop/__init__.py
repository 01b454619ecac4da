"""The loop that all stages share: engine, loaders, devices, processes, run folders."""
