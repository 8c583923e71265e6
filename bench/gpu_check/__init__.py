"""The modules of bench/gpu_check.py."""
