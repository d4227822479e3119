"""Exported networks on emulated devices: `make device-test`."""
