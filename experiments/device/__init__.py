"""What exported networks learn in C: accuracy on this machine, bits and instructions on an emulated Cortex-M4."""
